"""What is said of all mirrors together: a page, Prometheus text, a letter about one of them. Pure: values in, text out."""
