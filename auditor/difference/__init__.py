"""Two audits of one model slot, the last release and the next: what changed, record by record where that can be."""
