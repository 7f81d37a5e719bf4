"""The notebooks in JupyterLab, in a real browser: ``make lab-test``, or pytest tests/lab/in_browser.py."""
