"""The kinds of units as a table. Distances in cells, times in seconds, speeds in cells per second.

This is the lowest layer of the package: it imports nothing of it.
"""

from dataclasses import dataclass, field

GROUND = 0
AIR = 1
COLOSSUS = 2
PLANES = {"GROUND": GROUND, "AIR": AIR, "COLOSSUS": COLOSSUS}
ATTRIBUTES = (
    "LIGHT",
    "ARMORED",
    "BIOLOGICAL",
    "MECHANICAL",
    "PSIONIC",
    "MASSIVE",
    "STRUCTURE",
    "HEROIC",
)
MELEE = 0.1  # the attack range of units that fight hand to hand


@dataclass(frozen=True)
class UnitType:
    """What a kind of unit can do."""

    hp: float  #: Health at the start, which is also the most it can have.
    armor: float  #: Taken off every hit, after the shield.
    damage: float  #: Of one hit.
    cooldown: float  #: Seconds between two attacks.
    speed: float  #: Cells per second.
    attack_range: float  #: Cells from rim to rim.
    size: float  #: The diameter, in cells.
    #: Any of LIGHT, ARMORED, BIOLOGICAL, MECHANICAL, PSIONIC, MASSIVE, STRUCTURE and HEROIC.
    attributes: tuple[str, ...]
    #: The planes (GROUND, AIR, COLOSSUS) of the units that it can hit or heal.
    valid_targets: tuple[str, ...] = ("GROUND",)
    #: Absorbs damage before health. It grows by 2 a second, from 10 s after the last hit on.
    shield: float = 0
    #: The most energy it can have. Energy grows by 0.5625 a second. A healer spends 1 on 3 hp, and
    #: heals 9 hp a second.
    energy: float = 0
    starting_energy: float = 0  #: Energy at the start.
    attacks: int = 1  #: Hits of one attack.
    healing: bool = False  #: Whether it heals its own side. Healers do not attack.
    #: The distance in cells up to which an enemy unit notices agents.
    minimum_scan_range: float = 5
    #: More damage per hit, by an attribute of the target.
    bonuses: dict[str, float] = field(default_factory=dict)
    #: Units of different planes do not collide, and walls stop only units on GROUND.
    plane: str = "GROUND"
    hp_regen: float = 0  #: Health that grows back, in hp per second.
    #: STANDARD hits the target, HEAL heals it, KAMIKAZE kills the unit itself and hits all foes
    #: around it, LASER_BEAM hits all foes in a bar that lies across the line of fire, with the
    #: target in its middle.
    targeter: str = "STANDARD"
    radius: float = 0  #: Of a KAMIKAZE's splash, in cells.
    width: float = 0  #: Of a LASER_BEAM, across the line of fire, in cells.
    height: float = 0  #: Of a LASER_BEAM, along the line of fire, in cells.


# The formatter is off so that a line holds what belongs together: the body, then the weapon.
# fmt: off
#: The kinds of units by name, :class:`UnitType` objects.
UNITS: dict[str, UnitType] = {
    "MARINE": UnitType(
        hp=45, armor=0, speed=3.15, size=0.75, attributes=("LIGHT", "BIOLOGICAL"),
        damage=6, cooldown=0.61, attack_range=5, valid_targets=("GROUND", "AIR"),
    ),
    "MARAUDER": UnitType(
        hp=125, armor=1, speed=3.15, size=1.125, attributes=("ARMORED", "BIOLOGICAL"),
        damage=10, cooldown=1.07, attack_range=6, bonuses={"ARMORED": 10},
    ),
    "MEDIVAC": UnitType(
        hp=150, armor=1, speed=3.5, size=1.5, attributes=("ARMORED", "MECHANICAL"), plane="AIR",
        damage=0, cooldown=0, attack_range=4,
        healing=True, targeter="HEAL", energy=200, starting_energy=50,
    ),
    "STALKER": UnitType(
        hp=80, shield=80, armor=1, speed=4.13, size=1.25, attributes=("ARMORED", "MECHANICAL"),
        damage=13, cooldown=1.34, attack_range=6, valid_targets=("GROUND", "AIR"),
        bonuses={"ARMORED": 5},
    ),
    "ZEALOT": UnitType(
        hp=100, shield=50, armor=1, speed=3.15, size=1, attributes=("LIGHT", "BIOLOGICAL"),
        damage=8, cooldown=0.86, attack_range=MELEE, attacks=2,
    ),
    # Quirk of the reference: the colossus is on the ground, not on the plane of its own.
    "COLOSSUS": UnitType(
        hp=200, shield=150, armor=1, speed=3.15, size=2,
        attributes=("ARMORED", "MECHANICAL", "MASSIVE"),
        damage=10, cooldown=1.07, attack_range=7, attacks=2, bonuses={"LIGHT": 5},
        targeter="LASER_BEAM", width=2.8, height=0.3,
    ),
    "ZERGLING": UnitType(
        hp=35, hp_regen=0.38, armor=0, speed=4.13, size=0.75, attributes=("LIGHT", "BIOLOGICAL"),
        damage=5, cooldown=0.497, attack_range=MELEE,
    ),
    "BANELING": UnitType(
        hp=30, hp_regen=0.38, armor=0, speed=3.15, size=0.75, attributes=("BIOLOGICAL",),
        damage=80, cooldown=1, attack_range=0.25, targeter="KAMIKAZE", radius=2.2,
    ),
    "SPINE_CRAWLER": UnitType(
        hp=300, hp_regen=0.38, armor=2, speed=0, size=1,
        attributes=("ARMORED", "BIOLOGICAL", "STRUCTURE"),
        damage=25, cooldown=1.32, attack_range=7, minimum_scan_range=10, bonuses={"ARMORED": 5},
    ),
    "HYDRALISK": UnitType(
        hp=90, hp_regen=0.38, armor=0, speed=3.15, size=1.25, attributes=("LIGHT", "BIOLOGICAL"),
        damage=12, cooldown=0.59, attack_range=5, valid_targets=("GROUND", "AIR"),
    ),
}
# fmt: on
