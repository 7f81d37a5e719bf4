"""What this project asks of a borrowed GPU, minutes at a time; see README.md in this folder."""
