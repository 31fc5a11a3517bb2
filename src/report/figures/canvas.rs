//! Shapes on a sheet, drawn by plotters as SVG or PNG.

use std::{io::Write, sync::Once};

use flate2::{Compression, write::ZlibEncoder};
use plotters::{
    coord::Shift,
    prelude::*,
    style::{
        FontStyle, register_font,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::style::{Ink, Marker};
use crate::base::terminal::escaped;

/// DejaVu Sans Condensed with the letters of Latin, Greek, Cyrillic, Hebrew and Arabic; images do not depend on the machine's
/// fonts.
pub(super) const FONT: &[u8] = include_bytes!("../../../reports/fonts/DejaVuSansCondensed.ttf");
const FAMILY: &str = "sans-serif";
/// The same in SVG: a reader's machine has its own fonts.
const SVG_FONTS: &str = "font-family=\"DejaVu Sans Condensed, Arial, Helvetica, sans-serif\"";
/// What plotters divides sizes of text by in SVG.
const SVG_SIZE: f64 = 1.24;
/// From a size of text to the height that ab_glyph expects: ascent and descent of the font.
const BITMAP_SIZE: f64 = 1.164;
/// Bitmaps centre the whole line, with room for descents; SVG centres small letters.
const BITMAP_SHIFT: f64 = 0.2;
/// SVG has whole numbers of units; so many units are a pixel.
const UNITS: f64 = 8.0;
/// Pixels of PNG for one of the sheet: a sheet of 500 is a column of 3⅓ inches at 300 dpi.
const PIXELS: usize = 2;
/// PNG is drawn larger and averaged, so that edges are smooth.
const SMOOTH: usize = 2;
/// Pixels of PNG per metre: 300 dpi.
const PER_METRE: u32 = 11_811;
/// What text and axes are drawn with, before it is replaced by the colour of the text around the figure.
const TEXT: RGBColor = RGBColor(1, 1, 1);

/// Where a text is beside its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Stroke {
    pub ink: Ink,
    pub width: f64,
    /// Lengths of a dash and of the gap behind it; none if the line is solid.
    pub dash: Option<(f64, f64)>,
}

impl Stroke {
    pub fn new(ink: Ink, width: f64) -> Self {
        Self { ink, width, dash: None }
    }
}

enum Shape {
    Line(Vec<(f64, f64)>, Stroke),
    Mark((f64, f64), f64, Marker, Ink),
    Text { at: (f64, f64), text: String, size: f64, anchor: Anchor, is_upright: bool },
}

/// A figure: shapes on a sheet of so many pixels.
pub struct Canvas {
    pub width: f64,
    pub height: f64,
    /// What it shows, for readers that do not see it.
    title: String,
    shapes: Vec<Shape>,
}

type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

impl Canvas {
    pub fn new(width: f64, height: f64, title: &str) -> Self {
        Self { width, height, title: title.to_owned(), shapes: Vec::new() }
    }

    pub fn line(&mut self, points: impl IntoIterator<Item = (f64, f64)>, stroke: Stroke) {
        self.shapes.push(Shape::Line(points.into_iter().collect(), stroke));
    }

    pub fn mark(&mut self, at: (f64, f64), size: f64, marker: Marker, ink: Ink) {
        self.shapes.push(Shape::Mark(at, size, marker, ink));
    }

    pub fn text(&mut self, at: (f64, f64), text: &str, size: f64, anchor: Anchor) {
        let text = escaped(text).replace(['\n', '\t'], " ");
        self.shapes.push(Shape::Text { at, text, size, anchor, is_upright: false });
    }

    /// A text that is read from below.
    pub fn upright(&mut self, at: (f64, f64), text: &str, size: f64) {
        let text = escaped(text).replace(['\n', '\t'], " ");
        let anchor = Anchor::Middle;
        self.shapes.push(Shape::Text { at, text, size, anchor, is_upright: true });
    }

    /// Both, one above the other.
    pub fn above(mut self, below: Self) -> Self {
        let top = self.height;
        let moved = |(x, y): (f64, f64)| (x, y + top);
        self.shapes.extend(below.shapes.into_iter().map(|shape| match shape {
            Shape::Line(points, stroke) => {
                Shape::Line(points.into_iter().map(moved).collect(), stroke)
            }
            Shape::Mark(at, size, marker, ink) => Shape::Mark(moved(at), size, marker, ink),
            Shape::Text { at, text, size, anchor, is_upright } => {
                Shape::Text { at: moved(at), text, size, anchor, is_upright }
            }
        }));
        self.width = self.width.max(below.width);
        self.height += below.height;
        self
    }

    /// SVG without a background, its texts and axes in the colour of the text around it.
    pub fn svg(&self) -> String {
        let (width, height) = (self.width.ceil(), self.height.ceil());
        let mut svg = String::new();
        {
            let size = ((width * UNITS) as u32, (height * UNITS) as u32);
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            // invariant: writing into a string cannot fail, and the font is there
            let drawn = self.draw(&area, UNITS, (SVG_SIZE, 0.0)).and_then(|()| area.present());
            debug_assert!(drawn.is_ok());
        }
        // The sheet has its size in pixels; the shapes have theirs in units.
        let head =
            format!("width=\"{}\" height=\"{}\"", (width * UNITS) as u32, (height * UNITS) as u32);
        let shown = format!("width=\"{width}\" height=\"{height}\" role=\"img\"");
        let svg = svg.replacen(&head, &shown, 1);
        let ink = format!("#{:02X}{:02X}{:02X}", TEXT.0, TEXT.1, TEXT.2);
        let svg = self.with_lengths(&svg.replace(&ink, "currentColor"));
        let title = self.title.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let svg = match svg.find('>') {
            Some(end) => {
                let (head, rest) = svg.split_at(end + 1);
                format!("{head}\n<title>{}</title>{rest}", escaped(&title))
            }
            None => svg,
        };
        escaped(&svg).into_owned()
    }

    /// Every text with the length that it was given room for: a reader's font may be wider than ours.
    fn with_lengths(&self, svg: &str) -> String {
        const TEXT_STARTS: &str = "<text ";
        let mut pieces = svg.split(TEXT_STARTS);
        let mut whole = pieces.next().unwrap_or_default().to_owned();
        let mut lengths = self.shapes.iter().filter_map(|shape| match shape {
            Shape::Text { text, size, .. } => Some(text_width(text, *size * UNITS)),
            _ => None,
        });
        for piece in pieces {
            whole.push_str(TEXT_STARTS);
            match lengths.next() {
                Some(length) if length >= 1.0 => whole.push_str(&format!(
                    "textLength=\"{length:.0}\" lengthAdjust=\"spacingAndGlyphs\" "
                )),
                _ => {}
            }
            whole.push_str(piece);
        }
        debug_assert!(lengths.next().is_none(), "every text is drawn");
        whole.replace("font-family=\"sans-serif\"", SVG_FONTS)
    }

    /// PNG at 300 dpi, on white.
    pub fn png(&self) -> Vec<u8> {
        let scale = PIXELS * SMOOTH;
        let size = (self.width.ceil() as usize * scale, self.height.ceil() as usize * scale);
        let mut large = vec![255u8; size.0 * size.1 * 3];
        {
            let backend = BitMapBackend::with_buffer(&mut large, (size.0 as u32, size.1 as u32));
            let area = backend.into_drawing_area();
            let drawn = area
                .fill(&WHITE)
                .and_then(|()| self.draw(&area, scale as f64, (BITMAP_SIZE, BITMAP_SHIFT)))
                .and_then(|()| area.present());
            debug_assert!(drawn.is_ok());
        }
        let (width, height) = (size.0 / SMOOTH, size.1 / SMOOTH);
        let mut rows = Vec::with_capacity((width * 3 + 1) * height);
        for y in 0..height {
            // Each row starts with its filter: none.
            rows.push(0);
            for x in 0..width {
                for channel in 0..3 {
                    let sum: usize = (0..SMOOTH * SMOOTH)
                        .map(|at| {
                            let (dx, dy) = (at % SMOOTH, at / SMOOTH);
                            let row = (y * SMOOTH + dy) * size.0;
                            usize::from(large[(row + x * SMOOTH + dx) * 3 + channel])
                        })
                        .sum();
                    rows.push((sum / (SMOOTH * SMOOTH)) as u8);
                }
            }
        }
        png(width as u32, height as u32, &rows)
    }

    /// Sizes of text are multiplied by `text_scale`; a text is moved down by `shift` of its size.
    fn draw<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
        scale: f64,
        (text_scale, shift): (f64, f64),
    ) -> Drawn<DB> {
        load_font();
        let at = |(x, y): (f64, f64)| ((x * scale).round() as i32, (y * scale).round() as i32);
        for shape in &self.shapes {
            match shape {
                Shape::Line(points, stroke) => {
                    let style = style(stroke.ink).stroke_width(thick(stroke.width * scale));
                    let pieces = match stroke.dash {
                        Some((dash, gap)) => dashed(points, dash, gap),
                        None => vec![points.clone()],
                    };
                    for piece in pieces.iter().filter(|piece| piece.len() > 1) {
                        let piece: Vec<(i32, i32)> = piece.iter().map(|point| at(*point)).collect();
                        area.draw(&PathElement::new(piece, style))?;
                    }
                }
                Shape::Mark(place, size, marker, ink) => {
                    let (filled, size) = (style(*ink).filled(), size * scale);
                    let corners = |of: &[(f64, f64)]| -> Vec<(i32, i32)> {
                        let (x, y) = (place.0 * scale, place.1 * scale);
                        let corner = |(dx, dy): &(f64, f64)| {
                            ((x + dx * size).round() as i32, (y + dy * size).round() as i32)
                        };
                        of.iter().map(corner).collect()
                    };
                    match marker.corners() {
                        None => area.draw(&Circle::new(at(*place), size.round() as i32, filled))?,
                        Some((of, true)) => area.draw(&Polygon::new(corners(of), filled))?,
                        Some((of, false)) => {
                            let style = style(*ink).stroke_width(thick(2.0 * scale));
                            for pair in corners(of).chunks(2) {
                                area.draw(&PathElement::new(pair.to_vec(), style))?;
                            }
                        }
                    }
                }
                Shape::Text { at: place, text, size, anchor, is_upright } => {
                    let h = match anchor {
                        Anchor::Start => HPos::Left,
                        Anchor::Middle => HPos::Center,
                        Anchor::End => HPos::Right,
                    };
                    let font = FontDesc::from((FAMILY, size * scale * text_scale));
                    let font = match is_upright {
                        true => font.transform(FontTransform::Rotate270),
                        false => font,
                    };
                    let style = font.color(&TEXT).pos(Pos::new(h, VPos::Center));
                    let moved = match is_upright {
                        true => (place.0 + shift * size, place.1),
                        false => (place.0, place.1 + shift * size),
                    };
                    area.draw(&Text::new(text.as_str(), at(moved), style))?;
                }
            }
        }
        Ok(())
    }
}

fn load_font() {
    static LOADED: Once = Once::new();
    LOADED.call_once(|| {
        let _ = register_font(FAMILY, FontStyle::Normal, FONT);
    });
}

/// The width of a text in pixels.
pub fn text_width(text: &str, size: f64) -> f64 {
    load_font();
    let font = FontDesc::from((FAMILY, size * BITMAP_SIZE));
    font.layout_box(&escaped(text)).map_or(0.0, |((x, _), (end, _))| f64::from(end - x))
}

/// A text that is no wider than so many pixels.
pub fn fitted(text: &str, size: f64, room: f64) -> String {
    if text_width(text, size) <= room {
        return text.to_owned();
    }
    let letters: Vec<char> = text.chars().collect();
    let mut kept = letters.len();
    while kept > 1 {
        kept -= 1;
        // Names of systems that differ in one setting differ at their end, too.
        let tail = kept / 3;
        let head: String = letters[..kept - tail].iter().collect();
        let end: String = letters[letters.len() - tail..].iter().collect();
        let short = format!("{head}…{end}");
        if text_width(&short, size) <= room {
            return short;
        }
    }
    "…".into()
}

fn style(ink: Ink) -> ShapeStyle {
    let (colour, alpha) = match ink {
        Ink::Faint => (TEXT, 0.15),
        Ink::Medium => (TEXT, 0.5),
        Ink::Colour(r, g, b) => (RGBColor(r, g, b), 1.0),
    };
    colour.mix(alpha).into()
}

fn thick(width: f64) -> u32 {
    width.round().max(1.0) as u32
}

/// The dashes of a line.
fn dashed(points: &[(f64, f64)], dash: f64, gap: f64) -> Vec<Vec<(f64, f64)>> {
    let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
    let (mut is_on, mut left) = (true, dash);
    let Some(first) = points.first() else { return pieces };
    let mut piece = vec![*first];
    for pair in points.windows(2) {
        let ((mut x, mut y), (to_x, to_y)) = (pair[0], pair[1]);
        loop {
            let length = (to_x - x).hypot(to_y - y);
            if length <= left {
                left -= length;
                if is_on {
                    piece.push((to_x, to_y));
                }
                break;
            }
            let share = left / length;
            (x, y) = (x + (to_x - x) * share, y + (to_y - y) * share);
            if is_on {
                piece.push((x, y));
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![(x, y)];
            }
            is_on = !is_on;
            left = if is_on { dash } else { gap };
        }
    }
    if is_on {
        pieces.push(piece);
    }
    pieces
}

/// A PNG of 8-bit RGB; each of `rows` starts with its filter.
fn png(width: u32, height: u32, rows: &[u8]) -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        out.extend((data.len() as u32).to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(data);
        out.extend(kind);
        out.extend(data);
        out.extend(crc.sum().to_be_bytes());
    };
    let mut head = [width.to_be_bytes(), height.to_be_bytes()].concat();
    head.extend([8, 2, 0, 0, 0]);
    chunk(b"IHDR", &head);
    let mut size = [PER_METRE.to_be_bytes(), PER_METRE.to_be_bytes()].concat();
    size.push(1);
    chunk(b"pHYs", &size);
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    // invariant: writing into memory cannot fail
    let _ = packed.write_all(rows);
    chunk(b"IDAT", &packed.finish().unwrap_or_default());
    chunk(b"IEND", &[]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_add_up_along_corners() {
        let pieces = dashed(&[(0.0, 0.0), (10.0, 0.0), (10.0, 10.0)], 6.0, 2.0);
        let length = |piece: &Vec<(f64, f64)>| -> f64 {
            piece.windows(2).map(|of| (of[1].0 - of[0].0).hypot(of[1].1 - of[0].1)).sum()
        };
        let lengths: Vec<f64> = pieces.iter().map(length).collect();
        assert_eq!(lengths, [6.0, 6.0, 4.0]);
        assert_eq!(pieces[1], [(8.0, 0.0), (10.0, 0.0), (10.0, 4.0)]);
    }

    #[test]
    fn a_text_of_svg_has_the_length_of_its_room() {
        let mut canvas = Canvas::new(500.0, 300.0, "a figure");
        canvas.text((20.0, 40.0), "nDCG@10 <text >", 16.0, Anchor::Start);
        canvas.text((20.0, 60.0), "", 16.0, Anchor::Start);
        canvas.upright((20.0, 80.0), "als", 16.0);
        let svg = canvas.svg();
        let lengths: Vec<f64> = svg
            .split("textLength=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
            .collect();
        let expected = ["nDCG@10 <text >", "als"].map(|text| text_width(text, 128.0));
        assert_eq!(lengths, expected.map(f64::round), "{svg}");
        assert!(!svg.contains("\"sans-serif\""));
    }

    #[test]
    fn names_are_cut_in_the_middle() {
        let short = fitted("rerank[strategy=prompt,judge=encoder]", 16.0, 150.0);
        assert!(short.starts_with("rerank[") && short.ends_with(']') && short.contains('…'));
        assert!(text_width(&short, 16.0) <= 150.0);
        assert_eq!(fitted("als", 16.0, 150.0), "als");
    }
}
