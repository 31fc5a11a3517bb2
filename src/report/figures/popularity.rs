//! How much of the catalogue is recommended, and how unpopular it is.

use super::{
    Drawing, Source,
    plot::{Axis, Line, points},
};
use crate::report::metric_title;

pub(super) fn draw(of: &Source) -> Drawing {
    let (coverage, novelty) = (of.place_of("item-coverage"), of.place_of("novelty"));
    let point = |name: &String| -> Option<Line> {
        let x = of.row(name, &coverage)?.value?;
        let y = of.row(name, &novelty)?.value?;
        let name = name.clone();
        Some(Line { look: of.look(&name), name, points: vec![(x, y, None)], has_marks: true })
    };
    let all: Vec<Line> = of.systems().iter().filter_map(point).collect();
    if all.len() < 2 {
        return Ok(None);
    }
    let title = |name: &str| metric_title(name, Some(of.k));
    let x = Axis::of(all.iter().map(|line| line.points[0].0), &title("item-coverage"));
    let y =
        Axis::of(all.iter().map(|line| line.points[0].1), &format!("{} (bits)", title("novelty")));
    let what = format!("{} against {}", title("novelty"), title("item-coverage"));
    let caption = format!(
        "{what}; {}. Novelty: mean of −log2 of the recommended items' share of the training interactions. Item \
         coverage: share of the catalogue in any list.",
        of.about()
    );
    Ok(Some((caption, points(&what, of.width(), &x, &y, &all))))
}
