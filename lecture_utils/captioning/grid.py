"""What all captioners look at: one grid of spatial features z (slide 25), each point knowing its place."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from lecture_utils.arguments import require_channels, require_positive
from lecture_utils.transformers.self_attention import GridPositions


class GridInput(nn.Module):
    """Standardises the D features, projects those of each point to `dim` numbers and adds the point's place.

    A convolution sees the same thing alike wherever it stands; "to the left of" needs to know where.
    """

    def __init__(self, features: int, dim: int, grid: tuple[int, int]):
        super().__init__()
        require_positive(features=features, dim=dim)
        self.features, self.grid = features, tuple(grid)
        self.standardise = nn.BatchNorm2d(features, affine=False)  # a CNN's features differ in scale a hundredfold
        self.project = nn.Conv2d(features, dim, 1)
        self.norm = nn.LayerNorm(dim)
        self.places = GridPositions(dim, self.grid)

    def forward(self, z: Float[Tensor, "b features h w"]) -> Float[Tensor, "b hw dim"]:
        """The points of the grid, row after row."""
        require_channels(z, self.features)
        points = self.norm(rearrange(self.project(self.standardise(z)), "b d h w -> b h w d"))
        return rearrange(self.places(rearrange(points, "b h w d -> b d h w")), "b d h w -> b (h w) d")
