"""The report: its chapters, the offline renderer that renders them where Quarto is not installed, and the check."""
