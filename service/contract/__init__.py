"""What readers of the topic are promised: a schema and an example of each event, and the document made of them."""
