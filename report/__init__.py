"""The report: its chapters, the press that renders them where Quarto is not installed, and the check."""
