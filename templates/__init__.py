"""The page of the report: Jinja2 templates and one style sheet, read by `auditor.report` as `auditor.templates`."""
