"""Sphinx settings of the handouts; `build.py` calls Sphinx with them. The site works from file:// without a network."""

import re
from pathlib import Path

from docutils import nodes
from myst_nb.core.render import NbElementRenderer
from sphinx.util import logging

HERE = Path(__file__).resolve().parent
ASSETS = HERE / "_build" / "assets"
MATHJAX = ASSETS / "mathjax" / "tex-svg.js"

project = "The computer-vision lecture that runs"
author = "the course"
language = "en"
extensions = ["myst_nb"]
exclude_patterns = ["_*"]

nb_execution_mode = "off"  # build.py has executed the notebooks, each in its own kernel
nb_ipywidgets_js = {}  # an explorer brings its own script; nothing is fetched
nb_code_prompt_show, nb_code_prompt_hide = "Show code", "Hide code"  # of cells tagged hide-input: they only draw
nb_mime_priority_overrides = [("html", "text/html", 0)]
nb_render_image_options = {"align": "center"}
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath", "html_image"]
myst_heading_anchors = 3

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["custom.css", ("print.css", {"media": "print"}), "live.css"]
html_show_search_summary = False  # it would fetch pages, which browsers refuse from file://
html_theme_options = {
    "show_toc_level": 2,
    "navbar_persistent": [],
    "footer_content_items": [],
    "use_download_button": True,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

if ASSETS.exists():  # MathJax, and what the experiments load
    html_static_path.append(str(ASSETS))
if MATHJAX.exists():  # else Sphinx's public address
    mathjax_path = "mathjax/tex-svg.js"
    # The menu would load its parts, which are not shipped, when opened.
    mathjax3_config = {"options": {"enableMenu": False}}


def keep_offline(app, doctree):
    """Put its words in place of a picture from the network (the badges); warn of what raw HTML would fetch."""
    for image in list(doctree.findall(nodes.image)):
        if "://" in image["uri"]:
            image.replace_self(nodes.inline("", image.get("alt", "link"), classes=["badge-link"]))
    for raw in doctree.findall(nodes.raw):
        for attribute in ('src="http', "src='http", 'rel="stylesheet"'):
            if attribute in raw.astext():
                logging.getLogger(__name__).warning("HTML that needs a network: %s…", attribute, location=raw)


def describe_images():
    """Give each picture the alternative text in its output's metadata; MyST-NB itself knows one for a whole cell."""
    undescribed = NbElementRenderer.render_image

    def render_image(renderer, data):
        images = undescribed(renderer, data)
        images[0]["alt"] = data.output_metadata.get(data.mime_type, {}).get("alt", images[0].get("alt", ""))
        return images

    NbElementRenderer.render_image = render_image


def label_places(app, doctree):
    """Give code cells and sections labels: a page links to the first cell of notebooks/NAME with #NAME-cell-0."""
    name = app.env.docname.removeprefix("notebooks/").lower()  # as Sphinx looks labels up
    for section in doctree.findall(nodes.section):
        place = section["ids"][0]
        app.env.get_domain("std").note_hyperlink_target(f"{name}-{place}", app.env.docname, place)
    for node in doctree.findall(lambda node: isinstance(node, nodes.container) and "cell_index" in node):
        place = f"cell-{node['cell_index']}"
        node["ids"].append(place)
        app.env.get_domain("std").note_hyperlink_target(f"{name}-{place}", app.env.docname, place)


def offer_pdf(app, pagename, templatename, context, doctree):
    """Let the download menu offer the notebook's printed PDF instead of the browser's print dialogue."""
    if pagename not in context.get("printed_pages", "").split(","):
        return
    for group in context["header_buttons"]:
        for button in group.get("buttons", ()):
            if button["label"] == "download-pdf-button":
                url = context["pathto"](f"../pdf/{Path(pagename).name}.pdf", resource=True)
                del button["javascript"]
                button.update(type="link", url=url, tooltip="Download as PDF")


def name_as_shown(app, exception):
    """Take the labels from what has words of its own, "Show code" and the search, so that a voice reads those words."""
    label = re.compile(r'(<summary|<button class="[^"]*search-button-field[^"]*"[^>]*?) aria-label="[^"]*"')
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if (named := label.sub(r"\1", text)) != text:
            page.write_text(named, encoding="utf-8")


def setup(app):
    """Connect the hooks: before Sphinx collects images (500), and after the theme has made its buttons (501)."""
    describe_images()
    app.connect("doctree-read", keep_offline, priority=400)
    app.connect("doctree-read", label_places)
    app.connect("html-page-context", offer_pdf, priority=600)
    app.connect("build-finished", name_as_shown)
