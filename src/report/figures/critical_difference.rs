//! Critical-difference diagrams: average ranks over data sets on one axis, and a bar over systems that do not differ
//! (Demšar 2006, figure 1).

use super::{
    Figure,
    canvas::{Anchor, Canvas, Stroke, fitted, text_width},
    style::{Ink, LINE, Look, MARK, SIZE},
};
use crate::{analysis::Across, report::metric_title};

/// Pixels of the sheet: two columns of a paper.
const WIDTH: f64 = 1050.0;
/// Between rows of names.
const ROW: f64 = 26.0;
/// Between bars.
const BAR: f64 = 9.0;
const PAD: f64 = 14.0;

/// The diagram of one test.
pub fn critical_difference(of: &Across) -> Figure {
    let cd = &of.critical_difference;
    let k = cd.systems.len();
    let title = metric_title(&of.key.metric, Some(of.key.k));
    let what = format!("Average ranks by {title} over {} data sets", of.data.len());
    // The better half has its names on the left, the best above.
    let left = k.div_ceil(2);
    let rows = left.max(k - left);
    let name = |at: usize| format!("{} ({:.2})", cd.systems[at], cd.ranks[at]);
    let widest = (0..k).map(|at| text_width(&name(at), SIZE)).fold(0.0, f64::max);
    let margin = (widest + 2.0 * PAD).min(WIDTH / 3.0);
    let room = margin - 1.5 * PAD;
    let (first, last) = (margin, WIDTH - margin);
    let x = |rank: f64| first + (rank - 1.0) / (k as f64 - 1.0) * (last - first);
    let axis = 4.0 * SIZE;
    let bars = axis + PAD;
    let names = bars + BAR * cd.groups.len() as f64 + PAD;
    let height = names + ROW * rows as f64 + PAD;
    let mut canvas = Canvas::new(WIDTH, height, &what);
    let thin = Stroke::new(Ink::Medium, 1.5);

    // The critical difference as a length, above the axis.
    let length = (x(1.0 + cd.cd) - first).min(last - first);
    let above = 1.6 * SIZE;
    canvas.line([(first, above), (first + length, above)], thin);
    for end in [first, first + length] {
        canvas.line([(end, above - MARK), (end, above + MARK)], thin);
    }
    let text = format!("critical difference {:.2}", cd.cd);
    canvas.text((first, 0.7 * SIZE), &text, SIZE, Anchor::Start);

    canvas.line([(first, axis), (last, axis)], thin);
    for rank in 1..=k {
        let at = x(rank as f64);
        canvas.line([(at, axis - MARK), (at, axis)], thin);
        canvas.text((at, axis - MARK - 0.7 * SIZE), &rank.to_string(), SIZE, Anchor::Middle);
    }
    for (at, rank) in cd.ranks.iter().enumerate() {
        let is_left = at < left;
        let row = if is_left { at } else { k - 1 - at };
        let y = names + ROW * (row as f64 + 0.5);
        let end = if is_left { first - 0.5 * PAD } else { last + 0.5 * PAD };
        let look =
            Look::of(of.systems.iter().position(|name| *name == cd.systems[at]).unwrap_or(at));
        canvas.line([(x(*rank), axis), (x(*rank), y), (end, y)], Stroke::new(look.ink, 1.5));
        canvas.mark((x(*rank), axis), MARK, look.marker, look.ink);
        let (place, anchor) = match is_left {
            true => (end - 0.4 * PAD, Anchor::End),
            false => (end + 0.4 * PAD, Anchor::Start),
        };
        canvas.text((place, y), &fitted(&name(at), SIZE, room), SIZE, anchor);
    }
    for (at, (from, to)) in cd.groups.iter().enumerate() {
        let y = bars + BAR * at as f64;
        let ends = [(x(cd.ranks[*from]) - MARK, y), (x(cd.ranks[*to]) + MARK, y)];
        canvas.line(ends, Stroke::new(Ink::Medium, 2.5 * LINE));
    }
    let caption = format!(
        "{what} ({}; 1 is the best). Systems under one bar do not differ significantly (Nemenyi's test, α = {:.2}).",
        of.data.join(", "),
        of.alpha
    );
    let (metric, cutoff) = (&of.key.metric, of.key.k);
    Figure { name: format!("critical-difference-{metric}-{cutoff}"), caption, canvas }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::{Block, Place},
        base::hash::Digest,
        core::MeasureKey,
    };

    fn across(values: &[[f64; 4]]) -> Across {
        let names = ["ease", "als", "a long name of a system[factors=64,alpha=2]", "<b>"];
        let block = |at: usize, of: &[f64; 4]| Block {
            data: format!("d{at}"),
            digest: Digest::of(at.to_string()),
            from: format!("d{at}.yaml"),
            values: names.iter().zip(of).map(|(name, of)| ((*name).to_owned(), *of)).collect(),
        };
        let blocks: Vec<Block> = values.iter().enumerate().map(|(at, of)| block(at, of)).collect();
        let measure = MeasureKey {
            protocol: "full".into(),
            convention: "standard".into(),
            metric: "ndcg".into(),
            k: 10,
        };
        let place = Place { measure, slice: "all".into(), fold: "mean".into() };
        Across::new((&place.measure, "all"), &blocks, &|_| true, 0.05).unwrap()
    }

    #[test]
    fn every_system_and_every_group_is_drawn() {
        let of = across(&[[0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.1, 0.2], [0.4, 0.2, 0.3, 0.1]]);
        let svg = critical_difference(&of).svg();
        assert!(svg.contains("ease (1.00)") && svg.contains("als (2.33)"), "{svg}");
        assert!(svg.contains("&lt;b&gt;") && !svg.contains("<b>"), "{svg}");
        assert!(svg.contains(&format!("critical difference {:.2}", of.critical_difference.cd)));
        // Three data sets tell none of four systems apart: one bar.
        assert_eq!(of.critical_difference.groups, [(0, 3)]);
        let size = |svg: &str| svg.matches("<polyline").count();
        let many = across(&[[0.4, 0.3, 0.2, 0.1]; 30].map(|of| of));
        assert!(many.critical_difference.groups.is_empty());
        assert_eq!(size(&svg), size(&critical_difference(&many).svg()) + 1);
    }
}
