"""Support devices on courses through the vessels, airways and spaces they are meant for.

Desired positions: endotracheal tip 3-7 cm above the carina, venous catheters in the lower superior vena cava, pacing
leads in the right atrial appendage and the right ventricle's apex, enteric tip in the stomach (Godoy et al.,
AJR 2012). Plastic carries a barium stripe: modelled as the iron that absorbs as much.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wsrpn_vl.data.phantom.cardiac import heart_parts, heart_scale
from wsrpn_vl.data.phantom.opacities import pick
from wsrpn_vl.data.phantom.raster import bezier
from wsrpn_vl.data.phantom.scene import Region, Scene
from wsrpn_vl.data.phantom.solids import ellipsoid
from wsrpn_vl.data.phantom.thorax import SIDES, SIGN, Thorax

_TUBE, _WIRE, _STEEL = 0.030, 0.055, 0.25  # cm of iron


def lay(scene: Scene, path: np.ndarray, radius: float, iron: float) -> np.ndarray:
    """Lay a line along (n, 3) ``path`` and return its mask, a little wider than the line."""
    scene.metal += scene.beam.polyline(path, radius) * np.float32(iron / (2 * radius))
    return scene.beam.polyline(path, radius + max(0.12, 0.8 * scene.grid.pixel)) > 0


def to(x: float, y: float, z: float) -> np.ndarray:
    """(3,) cm: a step left, down and to the front."""
    return np.array([x, y, z])


def curve(*points, n: int = 22) -> np.ndarray:
    """(n, 3) points of a smooth course led by the given ones."""
    return bezier(np.array(points, float), n)


class Places:
    """Where lines run: points (3,) cm of veins and heart chambers."""

    def __init__(self, t: Thorax) -> None:
        parts = heart_parts(t, heart_scale(t))
        left, right, atrium = (parts[k] for k in (0, 1, 2))
        self.atrium = atrium[0]
        self.appendage = atrium[0] + [0.35 * atrium[1][0], -0.55 * atrium[1][1], 1.6]
        apex = left[0] + left[2][:, 0] * left[1][0] * 0.55
        self.apex = np.array([apex[0], max(apex[1], right[0][1] + 0.3 * right[1][1]), right[0][2]])
        self.tricuspid = (atrium[0] + right[0]) / 2 + to(0, 1.2, 0)
        self.trunk = parts[5][0]
        self.cava_top = np.array([-1.7 + t.pull, t.carina - 4.5, 0.7])
        self.cava_end = np.array([-2.3 + t.pull, t.hilum + 1.5, 1.3])


def access(t: Thorax, rng: np.random.Generator, side: str, vein: str) -> list[np.ndarray]:
    """Points from the skin to the superior vena cava through a vein."""
    s = SIGN[side]
    meet = np.array([s * 2.4, t.apex + 1.8, 1.6]) if side == "right" else np.array([2.0, t.apex + 2.2, 1.8])
    if vein == "internal jugular":
        return [np.array([s * float(rng.uniform(3.0, 4.2)), -1.0, 1.0]), np.array([s * 3.0, t.apex - 1.0, 1.2]), meet]
    if vein == "subclavian":
        skin = np.array([s * float(rng.uniform(8.0, 10.5)), t.apex + 5.0, 6.0])
        return [skin, np.array([s * 6.0, t.apex + 1.6, 3.5]), meet]
    arm = 12.0 if t.arms_down else 6.0
    out = t.half_width + 3.6
    return [
        np.array([s * (out + 1.5), t.apex + arm, 0.0]),
        np.array([s * out, t.apex + 4.0, 0.0]),
        np.array([s * (out - 5.0), t.apex + 1.4, 1.5]),
        meet,
    ]


def _venous(scene: Scene, rng: np.random.Generator, side: str, vein: str, radius: float, iron: float):
    """A catheter down the vena cava: mask, words for its tip."""
    where = Places(scene.thorax)
    # Share of the vena cava's length: its lower third or just beyond; one in seven lies high or deep in the atrium.
    deep = float(rng.uniform(*pick(rng, ((0.68, 1.08), (0.05, 0.5), (1.12, 1.3)), (0.86, 0.07, 0.07))))
    tip = where.cava_top + (where.cava_end - where.cava_top) * min(deep, 1.0)
    if deep > 1.0:
        tip = where.cava_end + (where.atrium - where.cava_end) * (deep - 1) * 3
    way = access(scene.thorax, rng, side, vein)
    outer = curve(*way, n=16)
    inner = curve(way[-1], where.cava_top, where.cava_top * 0.5 + tip * 0.5, tip, n=12)
    place = "right atrium" if deep > 1.1 else "cavoatrial junction" if deep > 0.9 else "superior vena cava"
    return lay(scene, np.concatenate([outer, inner[1:]]), radius, iron), place


def central_line(scene: Scene, rng: np.random.Generator) -> Region:
    """Central venous catheter."""
    side = pick(rng, SIDES, (0.65, 0.35))
    vein = pick(rng, ("internal jugular", "subclavian"), (0.6, 0.4))
    mask, place = _venous(scene, rng, side, vein, 0.12, _WIRE)
    return Region(mask, place, (f"{side} {vein}",), side, "", "central venous catheter")


def picc(scene: Scene, rng: np.random.Generator) -> Region:
    """Peripherally inserted central catheter."""
    side = pick(rng, SIDES)
    mask, place = _venous(scene, rng, side, "arm", 0.09, 0.8 * _WIRE)
    return Region(mask, place, (f"{side} upper extremity",), side, "", "PICC line")


def port(scene: Scene, rng: np.random.Generator) -> Region:
    """Implanted port: a reservoir on the chest wall and its catheter."""
    t = scene.thorax
    side = pick(rng, SIDES, (0.75, 0.25))
    mask, place = _venous(scene, rng, side, "subclavian", 0.11, _WIRE)
    at = np.array([SIGN[side] * 0.58 * t.half_width, t.apex + float(rng.uniform(4.5, 6.5)), t.depth + 2.0])
    ring = _ring(at, 1.15)
    mask |= lay(scene, ring, 0.22, 0.5 * _STEEL) | lay(scene, _ring(at, 0.45), 0.12, _WIRE)
    lead = curve(at, at + to(-SIGN[side] * 1.0, -2.5, 0.0), access(t, rng, side, "subclavian")[1])
    return Region(mask | lay(scene, lead, 0.11, _WIRE), place, (f"{side} chest wall",), side, "", "port catheter")


def _ring(at: np.ndarray, radius: float, n: int = 17) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, n)
    return at + radius * np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)


def swan_ganz(scene: Scene, rng: np.random.Generator) -> Region:
    """Pulmonary artery catheter: through the right heart into the right, seldom the left, pulmonary artery."""
    t, where = scene.thorax, Places(scene.thorax)
    side = pick(rng, SIDES, (0.8, 0.2))
    artery = pick(rng, SIDES, (0.8, 0.2))
    way = access(t, rng, side, "internal jugular")
    end = np.array([SIGN[artery] * float(rng.uniform(2.5, 5.0)), t.hilum + float(rng.uniform(-0.5, 1.0)), -0.8])
    first = curve(*way, where.cava_top, where.cava_end, where.atrium, n=18)
    loop = curve(
        where.atrium, where.tricuspid + to(0, 2.0, 0.5), where.apex + to(0, 1.0, 0), where.trunk + to(1, -1.5, 0), n=16
    )
    last = curve(loop[-1], where.trunk + to(0, -2.0, -1.5), end, n=10)
    mask = lay(scene, np.concatenate([first, loop[1:], last[1:]]), 0.11, _WIRE)
    return Region(mask, f"{artery} pulmonary artery", (f"{side} internal jugular",), side, "", "Swan-Ganz catheter")


def pacemaker(scene: Scene, rng: np.random.Generator) -> Region:
    """Pacemaker or defibrillator: case under the clavicle, one or two leads; a defibrillator's has a shock coil."""
    t, grid, where = scene.thorax, scene.grid, Places(scene.thorax)
    side = pick(rng, SIDES, (0.2, 0.8))
    icd = bool(rng.random() < 0.4)
    s, size = SIGN[side], 1.25 if icd else 1.0
    at = np.array([s * 0.68 * t.half_width, t.apex + float(rng.uniform(4.2, 6.2)), t.depth + 2.2])
    xy, scale = scene.beam.project(at)
    u, v = (grid.x - xy[0, 0]) / (2.3 * size * scale[0]), (grid.y - xy[0, 1]) / (2.0 * size * scale[0])
    case = np.clip((1 - np.abs(u) ** 3 - np.abs(v) ** 3) * 6, 0, 1)
    inner = np.clip((0.45 - np.abs(u + 0.1) ** 3 - np.abs(v - 0.15) ** 3) * 6, 0, 1)
    scene.metal += case * (0.55 * _STEEL) + inner * (0.6 * _STEEL)
    mask = case > 0.3
    dual = bool(rng.random() < 0.6)
    vein = np.array([s * 5.5, t.apex + 1.6, 3.0])
    loop = curve(at + to(-s * 1.0, 1.0, 0), at + to(-s * 3.5, 1.0, 0), at + to(-s * 1.5, -3.0, -1.0), vein, n=14)
    down = curve(vein, [s * 2.2, t.apex + 2.0, 1.8], where.cava_top, where.cava_end, where.atrium, n=16)
    ends = ((where.apex, where.tricuspid + to(0, 2.0, 0)), (where.appendage, where.atrium + to(0.4, 2.2, 0.5)))
    for end, bend in ends[: 1 + dual]:
        final = curve(where.atrium, bend, end, n=10)
        mask |= lay(scene, np.concatenate([loop, down[1:], final[1:]]), 0.09, _WIRE)
        if icd and end is where.apex:
            mask |= lay(scene, final[3:9], 0.17, 3 * _WIRE)
        mask |= lay(scene, final[-2:], 0.13, 2 * _WIRE)
    leads = "leads in the right atrium and right ventricle" if dual else "lead in the right ventricle"
    return Region(mask, f"{side} chest wall", (leads,), side, "", "defibrillator" if icd else "pacemaker")


def endotracheal(scene: Scene, rng: np.random.Generator) -> Region:
    """Tube in the trachea; its cuff bulges a little wider than the airway."""
    t = scene.thorax
    above = float(np.clip(rng.normal(4.2, 1.5), 0.4, 8.5))
    split = t.split
    top = np.array([0.0, -2.0, -0.2])
    tip = split - (split - top) * (above / (t.carina - top[1])) + to(float(rng.normal(0, 0.1)), 0, 0)
    path = np.stack([top, (top + tip) / 2 + to(float(rng.normal(0, 0.15)), 0, 0), tip])
    wall = scene.beam.polyline(path, 0.50) - scene.beam.polyline(path, 0.36)
    scene.metal += np.maximum(wall, 0) * np.float32(0.010)
    cuff = scene.beam.through(ellipsoid(tip + to(0, -2.6, 0), (1.15, 1.5, 1.1)))
    scene.soft -= np.minimum(0.25 * cuff, scene.soft)
    mask = lay(scene, path + to(0.3, 0, 0), 0.08, _TUBE) | (scene.beam.polyline(path, 0.55) > 0)
    return Region(mask, "trachea", (f"tip {above:.1f} cm above the carina",), "", "", "endotracheal tube")


def tracheostomy(scene: Scene, rng: np.random.Generator) -> Region:
    """Short curved tube in the upper trachea."""
    t = scene.thorax
    start = np.array([0.0, t.apex - 3.2, 4.5])
    path = curve(start, [0.0, t.apex - 3.4, 0.5], [0.05, t.apex + 1.8, -0.5], n=10)
    mask = lay(scene, path, 0.45, 1.3 * _TUBE)
    wing = np.array([start + to(-2.0, -0.3, 0), start + to(2.0, -0.3, 0)])
    return Region(mask | lay(scene, wing, 0.2, _TUBE), "trachea", ("midline",), "", "", "tracheostomy tube")


def enteric(scene: Scene, rng: np.random.Generator) -> Region:
    """Tube through the esophagus; its tip lies in the stomach, sometimes still above it."""
    t = scene.thorax
    short = bool(rng.random() < 0.12)
    gate = np.array([1.2, t.dome("left") + 1.0, -0.5])
    course = [curve([-0.2, -2.0, -1.5], [-0.5, t.carina, -2.2], [0.9 + t.pull, t.hilum + 4, -2.0], gate, n=18)]
    if not short:
        tip = [float(rng.uniform(0.25, 0.55)) * t.half_width, t.dome("left") + float(rng.uniform(3.0, 6.0)), 2.5]
        course.append(curve(gate, [3.2, t.dome("left") + 2.2, 1.0], tip, n=8)[1:])
    path = np.concatenate(course)[: 15 if short else None]
    mask = lay(scene, path, 0.16, 1.7 * _TUBE)
    words = "tip in the distal esophagus" if short else "tip below the diaphragm"
    return Region(mask, "esophagus" if short else "stomach", (words,), "", "", "enteric tube")


def chest_tube(scene: Scene, rng: np.random.Generator) -> Region:
    """Drain between the ribs to the apex or the base; its stripe is broken at the side hole."""
    t = scene.thorax
    side = pick(rng, SIDES)
    s, apical = SIGN[side], bool(rng.random() < 0.7)
    enter = t.place(side, 1.0, float(rng.uniform(0.6, 0.85)), 0.5) + to(s * 0.4, 0, 0)
    front = float(rng.uniform(0.3, 0.8))
    end = t.place(side, float(rng.uniform(0.15, 0.5)), 0.14 if apical else 0.97, front)
    bend = t.place(side, 0.85, 0.45 if apical else 0.9, front)
    path = curve(enter + to(s * 4.0, 2.5, 0), enter, bend, end, n=20)
    hole = 20 - 4
    mask = lay(scene, path[: hole + 1], 0.26, 1.5 * _TUBE) | lay(scene, path[hole + 1 :], 0.26, 1.5 * _TUBE)
    mask |= scene.beam.polyline(path, 0.4) > 0
    stripe = lay(scene, path[: hole + 1], 0.07, _WIRE) | lay(scene, path[hole + 1 :], 0.07, _WIRE)
    words = "tip directed towards the apex" if apical else "tip at the base"
    return Region(mask | stripe, f"{side} pleural space", (words,), side, "", "chest tube")


def sternal_wires(scene: Scene, rng: np.random.Generator) -> Region:
    """Cerclage wires of a sternotomy, with a valve or the clips of bypass grafts."""
    t = scene.thorax
    mask = np.zeros(scene.soft.shape, bool)
    lean = float(rng.normal(0, 0.05))
    for k in range(int(rng.integers(4, 8))):
        at = np.array([float(rng.normal(0.1, 0.1)) + lean * k, t.carina - 3.2 + 2.4 * k, 0.85 * t.depth + 1.0])
        ring = _ring(at, 0.62)
        ring[:, 1] = at[1] + (ring[:, 1] - at[1]) * 0.7
        twist = np.array([at + to(0.1, -0.4, 0.3), at + to(-0.2, -0.75, 0.3)])
        mask |= lay(scene, ring, 0.06, _WIRE) | lay(scene, twist, 0.09, _WIRE)
    extra = pick(rng, ("", "valve", "clips"), (0.4, 0.2, 0.4))
    words = ["well aligned"]
    if extra == "valve":
        centre = Places(t).trunk + to(-1.8, 4.2, -2.5)
        ring = _ring(centre, 1.25, 21)
        ring[:, 1] = centre[1] + (ring[:, 1] - centre[1]) * 0.55 + 0.45 * (ring[:, 0] - centre[0])
        mask |= lay(scene, ring, 0.12, 2 * _WIRE)
        words.append("with a prosthetic valve")
    elif extra == "clips":
        for _ in range(int(rng.integers(4, 9))):
            at = np.array([float(rng.uniform(0.8, 4.0)), float(rng.uniform(t.carina - 1, t.hilum + 6)), 4.0])
            mask |= lay(scene, np.array([at, at + to(0.3, float(rng.uniform(-0.3, 0.3)), 0)]), 0.07, 1.5 * _WIRE)
        words.append("with surgical clips")
    return Region(mask, "midline sternum", tuple(words), "", "", "sternotomy wires")


DEVICES: dict[str, tuple[Callable[[Scene, np.random.Generator], Region], float, float]] = {
    # kind: (drawing, relative frequency PA, AP)
    "pacemaker": (pacemaker, 3.0, 1.6),
    "central line": (central_line, 1.6, 4.0),
    "PICC": (picc, 1.8, 1.8),
    "port": (port, 1.4, 0.5),
    "Swan-Ganz": (swan_ganz, 0.02, 0.7),
    "sternal wires": (sternal_wires, 2.2, 1.2),
    "endotracheal": (endotracheal, 0.05, 3.2),
    "tracheostomy": (tracheostomy, 0.15, 0.5),
    "enteric": (enteric, 0.2, 2.6),
    "chest tube": (chest_tube, 0.5, 1.2),
}


def support_devices(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """One to three devices, portable films more than others; never two tubes in one trachea."""
    ap = scene.technique.view == "AP"
    kinds = list(DEVICES)
    weight = np.array([DEVICES[k][2 if ap else 1] for k in kinds])
    n = pick(rng, (1, 2, 3), (0.45, 0.35, 0.2) if ap else (0.75, 0.2, 0.05))
    chosen = [kinds[int(k)] for k in rng.choice(len(kinds), size=n, replace=False, p=weight / weight.sum())]
    if "endotracheal" in chosen:
        chosen = [k for k in chosen if k != "tracheostomy"]
    regions = [DEVICES[k][0](scene, rng) for k in kinds if k in chosen]
    return [r for r in regions if r.mask.any()]
