"""A page of the site asks no other server for anything: it is read where there is no network."""

from __future__ import annotations

import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.pages import Page

_FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|audio|video)\b[^>]*\bsrc=["']?(?:https?:)?//[^"'\s>]*"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|icon|preload|preconnect))[^>]*\bhref=["']?(?:https?:)?//[^"'\s>]*"""
    r"""|@import[^;]*//[^;]*|url\(["']?(?:https?:)?//[^)]*"""
)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Look at what is about to be written (an event of MkDocs).

    Raises:
        PluginError: a browser would fetch something of it elsewhere.
    """
    fetched = _FETCHED.findall(output)
    if fetched:
        raise PluginError(f"{page.file.src_uri} asks another server: {', '.join(fetched)}")
    return output
