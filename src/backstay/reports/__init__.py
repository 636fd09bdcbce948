"""Reports of runs: timelines, SVG drawings, the style of pages."""
