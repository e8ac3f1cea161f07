"""Text files, changed as an admin would."""


def edit(path, old, new):
    """Replace text in a file."""
    with open(path) as stream:
        text = stream.read()
    assert old in text
    with open(path, "w") as stream:
        stream.write(text.replace(old, new))
