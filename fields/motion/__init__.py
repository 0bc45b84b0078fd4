"""How canonical Gaussians move: the paper's network, nodes that a network or tracks move, or not at all."""

from .network import DeformationNetwork
from .node_network import NodeNetwork
from .scaffold import NodeScaffold
from .still import Still

MOTIONS = {motion.kind: motion for motion in (DeformationNetwork, NodeNetwork, NodeScaffold, Still)}

__all__ = ["MOTIONS", "DeformationNetwork", "NodeNetwork", "NodeScaffold", "Still"]
