"""The same answers as MMSegmentation's own modules, faster or in less memory: attention, heads, loss."""
