//! Colours, dashes and markers: the same for a system in every figure.

use super::canvas::Stroke;

/// Size of text: 8 pt in a column of 3⅓ inches.
pub const SIZE: f64 = 16.0;
/// Lines of systems.
pub const LINE: f64 = 2.0;
/// Markers, from their centre.
pub const MARK: f64 = 5.0;

/// What something is drawn with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ink {
    /// The colour of the text around the figure, for grids.
    Faint,
    /// The same, for references.
    Medium,
    Colour(u8, u8, u8),
}

/// Seven colours after Okabe and Ito, which colour-blind readers tell apart; each has a contrast of 3:1 or more with
/// white and with the page's dark ground.
pub const COLOURS: [Ink; 7] = [
    Ink::Colour(0, 114, 178),
    Ink::Colour(204, 85, 0),
    Ink::Colour(0, 142, 104),
    Ink::Colour(184, 95, 156),
    Ink::Colour(168, 124, 0),
    Ink::Colour(38, 140, 186),
    Ink::Colour(122, 122, 122),
];

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
    Down,
    Cross,
    Plus,
}

const MARKERS: [Marker; 7] = [
    Marker::Circle,
    Marker::Square,
    Marker::Triangle,
    Marker::Diamond,
    Marker::Down,
    Marker::Cross,
    Marker::Plus,
];

const DASHES: [Option<(f64, f64)>; 3] = [None, Some((10.0, 5.0)), Some((3.0, 4.0))];

impl Marker {
    /// Its corners in sizes, and whether it is filled; else they are the ends of lines. None for a circle.
    pub fn corners(self) -> Option<(&'static [(f64, f64)], bool)> {
        Some(match self {
            Self::Circle => return None,
            Self::Square => (&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)], true),
            Self::Triangle => (&[(0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)], true),
            Self::Diamond => (&[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)], true),
            Self::Down => (&[(0.0, 1.2), (1.1, -0.8), (-1.1, -0.8)], true),
            Self::Cross => (&[(-1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (1.0, -1.0)], false),
            Self::Plus => (&[(-1.2, 0.0), (1.2, 0.0), (0.0, -1.2), (0.0, 1.2)], false),
        })
    }
}

/// How a system is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    pub ink: Ink,
    pub marker: Marker,
    pub dash: Option<(f64, f64)>,
}

impl Look {
    /// Of the system at a place in the experiment: 49 differ in colour or marker, and neighbours in both.
    pub fn of(at: usize) -> Self {
        let round = at / COLOURS.len();
        Self {
            ink: COLOURS[at % COLOURS.len()],
            marker: MARKERS[(at + round) % MARKERS.len()],
            dash: DASHES[round % DASHES.len()],
        }
    }

    pub fn stroke(self) -> Stroke {
        Stroke { ink: self.ink, width: LINE, dash: self.dash }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forty_nine_systems_differ_in_colour_and_marker() {
        let all: Vec<Look> = (0..49).map(Look::of).collect();
        for (at, look) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|of| (of.ink, of.marker) != (look.ink, look.marker)));
        }
        assert!(all[..21].iter().any(|of| of.dash.is_some()));
    }

    /// WCAG 2.1, 1.4.11: graphics have a contrast of 3:1.
    #[test]
    fn colours_are_seen_on_light_and_dark_grounds() {
        let part = |of: u8| {
            let of = f64::from(of) / 255.0;
            if of <= 0.03928 { of / 12.92 } else { ((of + 0.055) / 1.055).powf(2.4) }
        };
        let light =
            |(r, g, b): (u8, u8, u8)| 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
        let contrast = |a: f64, b: f64| (a.max(b) + 0.05) / (a.min(b) + 0.05);
        for ink in COLOURS {
            let Ink::Colour(r, g, b) = ink else { panic!("{ink:?}") };
            for ground in [(255, 255, 255), (20, 22, 26)] {
                let found = contrast(light((r, g, b)), light(ground));
                assert!(found >= 3.0, "{ink:?} on {ground:?}: {found}");
            }
        }
    }
}
