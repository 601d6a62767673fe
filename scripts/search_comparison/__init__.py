"""What compare_search.py is made of: tasks of the project's own, recipes, a run, the table."""

from search_comparison.denoising import Denoising
from search_comparison.digits import Digits
from search_comparison.glyphs import Glyphs

TASKS = {task.name: task for task in (Digits, Glyphs, Denoising)}
