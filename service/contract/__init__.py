"""The contract with consumers of the topic: JSON Schemas of the events and the AsyncAPI document."""
