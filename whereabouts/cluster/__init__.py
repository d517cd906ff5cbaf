"""What the cluster knows beside the store: pods, nodes, NetworkAttachmentDefinitions."""
