"""Small tasks of the project's own to compare searches on: a file each, and what they share."""

from search_tasks.denoising import Denoising
from search_tasks.digits import Digits
from search_tasks.glyphs import Glyphs

TASKS = {task.name: task for task in (Digits, Glyphs, Denoising)}
