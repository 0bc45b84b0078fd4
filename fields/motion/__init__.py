"""How canonical Gaussians move: the paper's network, a scaffold of rigid nodes, or not at all."""

from .network import DeformationNetwork
from .scaffold import NodeScaffold
from .still import Still

MOTIONS = {motion.kind: motion for motion in (DeformationNetwork, NodeScaffold, Still)}

__all__ = ["MOTIONS", "DeformationNetwork", "NodeScaffold", "Still"]
