"""How the documentation is built: Sphinx over Markdown, with nothing but what is here."""

from docutils.nodes import Element, TextElement
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import horus_trio

project = "horus_trio"
author = "The horus_trio authors"
copyright = "2026, The horus_trio authors"
release = version = horus_trio.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib_trio"]
exclude_patterns = ["_build", "decisions/template.md"]
html_theme = "furo"
html_title = f"horus_trio {release}"
html_static_path = ["_static"]
html_css_files = ["pictures.css"]

default_role = "code"
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

nitpicky = True
# The signatures name types of other packages, whose documentation is not at hand when this one is
# built, and type variables, which have none. References to horus_trio itself are all checked.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!horus_trio\b).*"),
    (r"py:.*", r"horus_trio\.(.*\.)?_?[A-Z][A-Za-z]{0,8}T|horus_trio\.(.*\.)?_?[A-Z]"),
    # What only drivers and the harness themselves are made of.
    (r"py:.*", r"horus_trio\.drivers\.http\..*\.(Polled|PollingKeywords|HttpAuth)"),
    (r"py:.*", r"horus_trio\.drivers\.redis\.device\.RedisDriver"),
    (r"py:.*", r"horus_trio\.testing\.(stage\.Stage|faults\.FaultMethods|clock\.Watcher)"),
]


def resolve_to_public_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: TextElement
) -> Element | None:
    """Find what a signature calls by the module it is written in where users import it from."""
    target = node.get("reftarget", "")
    if not target.startswith("horus_trio."):
        return None
    rooms = ("horus_trio.testing", "horus_trio.drivers", "horus_trio.helpers")
    room = next((room for room in rooms if target.startswith(f"{room}.")), "horus_trio")
    public = f"{room}.{target.rpartition('.')[2]}"
    document, kind = node.get("refdoc", ""), node["reftype"]
    return env.domains["py"].resolve_xref(env, document, app.builder, kind, public, node, text)


def setup(app: Sphinx) -> None:
    """Sphinx calls this when it has read the configuration."""
    app.connect("missing-reference", resolve_to_public_name)
