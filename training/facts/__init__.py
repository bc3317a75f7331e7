"""Invented facts, which a model can only know by reading its retrieved neighbours.

Each fact is a document about an invented entity and a prompt that ends right before the value the document states.
Training and evaluation share the kinds of fact but neither the forms of the sentences nor any invented word.
"""

from training.facts.facts import Fact, evaluation_facts, training_facts

__all__ = ["Fact", "evaluation_facts", "training_facts"]
