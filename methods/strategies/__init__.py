"""One file, one strategy; the file's name is its name on the command line."""

from methods.correspondence import Strategy
from methods.recipe import Recipe
from methods.strategies.simsiam import SimSiam


def added_by(recipe: Recipe) -> list[tuple[Strategy, float]]:
    """Return the strategies whose losses a recipe adds to the compared one's, with their weights."""
    return [(SimSiam(), recipe.global_weight)] if recipe.global_weight else []
