"""Networks that play games, and reuse networks that were trained on other games: GRUSM-ESP."""

from moduli.games.analysis import analyse
from moduli.games.arena import Arena, Game
from moduli.games.atari import AtariGame
from moduli.games.episodes import Played, play
from moduli.games.found import Evolved
from moduli.games.gymnasium_game import GymnasiumGame
from moduli.games.named import game_named
from moduli.games.networks import (
    DISSERTATION,
    EVERYWHERE,
    Architecture,
    Network,
    Networks,
    Neuron,
    Source,
    random_network,
)
from moduli.games.recording import Recording, record
from moduli.games.saved import load_network, save_network
from moduli.games.search import NetworkSearch, evolve_network
from moduli.games.settings import Esp
from moduli.games.sweep import plan_random, plan_scratch, plan_transfer, run_plans
from moduli.games.team import Team

__all__ = [
    "DISSERTATION",
    "EVERYWHERE",
    "Architecture",
    "Arena",
    "AtariGame",
    "Esp",
    "Evolved",
    "Game",
    "GymnasiumGame",
    "Network",
    "NetworkSearch",
    "Networks",
    "Neuron",
    "Played",
    "Recording",
    "Source",
    "Team",
    "analyse",
    "evolve_network",
    "game_named",
    "load_network",
    "plan_random",
    "plan_scratch",
    "plan_transfer",
    "play",
    "random_network",
    "record",
    "run_plans",
    "save_network",
]
