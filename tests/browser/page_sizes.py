"""The windows in which pages are opened."""

WIDTHS = (360, 768, 1440)
SCHEMES = ("light", "dark")
# A phone, a tablet and a desktop: what CI opens of each page. The full grid is long.
FEW = ((360, "dark"), (768, "light"), (1440, "dark"))
GRID = tuple((width, scheme) for width in WIDTHS for scheme in SCHEMES)
