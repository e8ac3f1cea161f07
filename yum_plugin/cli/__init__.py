"""The command ``xcpng-mirrors``: one module a subcommand; main.py holds the table of them."""
