"""The kinds of units as a table. Distances in cells, times in seconds, speeds in cells per second."""

from dataclasses import dataclass, field

GROUND, AIR, COLOSSUS = range(3)
PLANES = {"GROUND": GROUND, "AIR": AIR, "COLOSSUS": COLOSSUS}
MELEE = 0.1  # attack range


@dataclass(frozen=True)
class UnitType:
    """What a kind of unit can do.

    Parameters
    ----------
    hp : float
        Health at the start, and at most.
    armor : float
        Taken off every hit, after the shield.
    damage : float
        Of one hit.
    cooldown : float
        Seconds between two attacks.
    speed : float
        Cells per second.
    attack_range : float
        Cells from rim to rim.
    size : float
        The diameter, in cells.
    attributes : tuple of str
        Any of LIGHT, ARMORED, BIOLOGICAL, MECHANICAL, PSIONIC, MASSIVE and STRUCTURE.
    valid_targets : tuple of str
        The planes of the units that it can hit or heal: GROUND, AIR, COLOSSUS.
    shield : float
        Absorbs damage before health; grows by 2 a second, from 10 s after the last hit on.
    energy : float
        At most. It grows by 0.5625 a second; a healer spends 1 on 3 hp, and heals 9 hp a second.
    starting_energy : float
        At the start.
    attacks : int
        Hits of one attack.
    healing : bool
        It heals its own side and does not attack.
    minimum_scan_range : float
        How far an enemy unit notices agents, in cells.
    bonuses : dict
        More damage per hit, by an attribute of the target.
    plane : str
        Units of different planes do not collide, and only those on GROUND are stopped by walls.
    hp_regen : float
        hp per second.
    targeter : str
        STANDARD hits the target, HEAL heals it, KAMIKAZE kills the unit itself and hits all foes around it,
        LASER_BEAM hits all foes in a bar that lies across the line of fire, with the target in its middle.
    radius : float
        Of a KAMIKAZE's splash, in cells.
    width : float
        Of a LASER_BEAM, across the line of fire, in cells.
    height : float
        Of a LASER_BEAM, along the line of fire, in cells.
    """

    hp: float
    armor: float
    damage: float
    cooldown: float
    speed: float
    attack_range: float
    size: float
    attributes: tuple
    valid_targets: tuple = ("GROUND",)
    shield: float = 0
    energy: float = 0
    starting_energy: float = 0
    attacks: int = 1
    healing: bool = False
    minimum_scan_range: float = 5
    bonuses: dict = field(default_factory=dict)
    plane: str = "GROUND"
    hp_regen: float = 0
    targeter: str = "STANDARD"
    radius: float = 0
    width: float = 0
    height: float = 0


BOTH = ("GROUND", "AIR")
#: The kinds of units by name, :class:`UnitType` objects.
UNITS = {
    "MARINE": UnitType(45, 0, 6, 0.61, 3.15, 5, 0.75, ("LIGHT", "BIOLOGICAL"), BOTH),
    "MARAUDER": UnitType(
        125, 1, 10, 1.07, 3.15, 6, 1.125, ("ARMORED", "BIOLOGICAL"), bonuses={"ARMORED": 10}
    ),
    "MEDIVAC": UnitType(
        150,
        1,
        0,
        0,
        3.5,
        4,
        1.5,
        ("ARMORED", "MECHANICAL"),
        energy=200,
        starting_energy=50,
        healing=True,
        plane="AIR",
        targeter="HEAL",
    ),
    "STALKER": UnitType(
        80,
        1,
        13,
        1.34,
        4.13,
        6,
        1.25,
        ("ARMORED", "MECHANICAL"),
        BOTH,
        shield=80,
        bonuses={"ARMORED": 5},
    ),
    "ZEALOT": UnitType(
        100, 1, 8, 0.86, 3.15, MELEE, 1, ("LIGHT", "BIOLOGICAL"), shield=50, attacks=2
    ),
    "COLOSSUS": UnitType(
        200,
        1,
        10,
        1.07,
        3.15,
        7,
        2,
        ("ARMORED", "MECHANICAL", "MASSIVE"),
        shield=150,
        attacks=2,
        bonuses={"LIGHT": 5},
        targeter="LASER_BEAM",
        width=2.8,
        height=0.3,
    ),
    "ZERGLING": UnitType(
        35, 0, 5, 0.497, 4.13, MELEE, 0.75, ("LIGHT", "BIOLOGICAL"), hp_regen=0.38
    ),
    "BANELING": UnitType(
        30,
        0,
        80,
        1,
        3.15,
        0.25,
        0.75,
        ("BIOLOGICAL",),
        hp_regen=0.38,
        targeter="KAMIKAZE",
        radius=2.2,
    ),
    "SPINE_CRAWLER": UnitType(
        300,
        2,
        25,
        1.32,
        0,
        7,
        1,
        ("ARMORED", "BIOLOGICAL", "STRUCTURE"),
        minimum_scan_range=10,
        bonuses={"ARMORED": 5},
        hp_regen=0.38,
    ),
    "HYDRALISK": UnitType(
        90, 0, 12, 0.59, 3.15, 5, 1.25, ("LIGHT", "BIOLOGICAL"), BOTH, hp_regen=0.38
    ),
}
