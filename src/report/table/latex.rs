//! A table for LaTeX: booktabs, as wide as one or two columns of a two-column paper.

use super::{MARK, Row, Table};
use crate::{
    report::latex::{PREAMBLE, breakable, breakable_in, escaped, width},
    tasks::Width,
};

/// One column of a two-column article on A4, which is narrower than those of the venues' templates, in points.
const ONE: f64 = 218.0;
/// Both columns.
const TWO: f64 = 448.0;
/// Sizes of type, and how wide text is beside that at 10 pt.
const SIZES: [(&str, f64); 3] =
    [("\\normalsize", 1.0), ("\\small", 0.925), ("\\footnotesize", 0.86)];
/// Space at each side of a column, in points.
const SPACES: [f64; 2] = [6.0, 3.0];
/// Lines that fit on a page.
const MOST_LINES: usize = 44;
/// Bold digits are wider.
const BOLD: f64 = 1.16;

/// Columns and rows of a block.
type Piece = (std::ops::Range<usize>, std::ops::Range<usize>);

/// How a table is set.
struct Setting {
    is_wide: bool,
    size: &'static str,
    space: f64,
    /// Widths of the leading columns in points; wrapped where the text is wider.
    heads: Vec<Option<f64>>,
    /// The columns of numbers in each block, one below the other.
    blocks: Vec<std::ops::Range<usize>>,
}

impl Table {
    pub(super) fn latex(&self) -> String {
        let setting = self.setting();
        let environment = if setting.is_wide { "table*" } else { "table" };
        let mut text = String::from("% Written by assay. Needs \\usepackage{booktabs}.\n");
        for note in self.notes.iter().filter(|note| note.is_detail) {
            text += &format!("% {}\n", escaped(&note.text));
        }
        text += PREAMBLE;
        let caption = match &self.caption {
            Some(caption) => caption.clone(),
            None => self.default_caption(),
        };
        let notes = self.latex_notes().join(" ");
        let parts = self.parts(&setting, &caption, &notes);
        for (at, pieces) in parts.iter().enumerate() {
            // A table that is continued keeps its number.
            let more = if at > 0 { " (continued)" } else { "" };
            let same = if at > 0 { "\\addtocounter{table}{-1}\n" } else { "" };
            let label = match at {
                0 => format!("\\label{{{}}}", label(&self.label())),
                _ => String::new(),
            };
            text += &format!(
                "\\begin{{{environment}}}[t]\n\\centering\\sloppy\n{same}\\caption{{{}{more}}}{label}\n\\par\\smallskip{}\n\
                 \\setlength{{\\tabcolsep}}{{{}pt}}\n",
                breakable(&caption),
                setting.size,
                setting.space
            );
            for (n, (columns, rows)) in pieces.iter().enumerate() {
                if n > 0 {
                    text += "\\par\\medskip\n";
                }
                self.block(&mut text, &self.rows[rows.clone()], columns.clone(), &setting);
            }
            if at + 1 == parts.len() && !notes.is_empty() {
                text += &format!(
                    "\\par\\smallskip\n\\parbox{{\\linewidth}}{{\\raggedright\\footnotesize {notes}}}\n"
                );
            }
            text += &format!("\\end{{{environment}}}\n");
        }
        text
    }

    /// The blocks of columns, with the rows that fit on a page beside each other; each part is a table of its own.
    fn parts(&self, by: &Setting, caption: &str, notes: &str) -> Vec<Vec<Piece>> {
        let across = if by.is_wide { TWO } else { ONE };
        let of_text = |text: &str| (width(text) / across).ceil() as usize + 1;
        let room = MOST_LINES.saturating_sub(of_text(caption) + of_text(notes)).max(8);
        let lines_in = |text: &str, room: f64| {
            let line = width(text) * by.scale() / room;
            // Lines are not full where words end.
            if line <= 1.0 { 1 } else { (1.35 * line).ceil() as usize }
        };
        let of_row = |row: &Row| {
            let heads = self.row_head(row);
            let heads = heads.iter().zip(&by.heads);
            let lines = heads.map(|(head, room)| room.map_or(1, |room| lines_in(head, room)));
            lines.max().unwrap_or(1)
        };
        let lines: Vec<usize> = self.rows.iter().map(of_row).collect();
        let mut parts: Vec<Vec<Piece>> = vec![Vec::new()];
        let mut used = 0;
        for columns in &by.blocks {
            let groups = self.columns[columns.clone()].iter().map(|of| lines_in(&of.group, 60.0));
            let head = 3 + groups.max().unwrap_or(0);
            let mut from = 0;
            while from < self.rows.len() {
                let (mut to, mut height) = (from, head);
                while to < self.rows.len() {
                    let group = &self.rows[to].group;
                    let is_new = to == from || *group != self.rows[to - 1].group;
                    let heading = match is_new && !group.is_empty() {
                        true => lines_in(group, across * 0.6) + 1,
                        false => 0,
                    };
                    if to > from && height + lines[to] + heading > room {
                        break;
                    }
                    height += lines[to] + heading;
                    to += 1;
                }
                if used > 0 && used + height > room {
                    parts.push(Vec::new());
                    used = 0;
                }
                used += height;
                if let Some(part) = parts.last_mut() {
                    part.push((columns.clone(), from..to));
                }
                from = to;
            }
        }
        parts
    }

    /// `tab:full-standard-all-k10`
    pub fn label(&self) -> String {
        self.label.clone().unwrap_or_else(|| format!("tab:{}", self.file_name))
    }

    /// The caption of a table without one: what it is of.
    pub fn default_caption(&self) -> String {
        match self.title.starts_with("protocol") {
            true => format!("{}.", upper_first(&self.title)),
            // It begins with the name of the data.
            false => format!("Results on {}.", self.title),
        }
    }

    /// What a paper has to say below the table.
    fn latex_notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = Vec::new();
        for note in self.shown_notes(false).filter(|note| !note.is_detail) {
            let text = note.text.replace(" * best.", "");
            notes.push(breakable(&text));
            if notes.len() == 1 {
                notes.extend(self.marks_in_words().map(str::to_owned));
            }
        }
        notes
    }

    /// What bold and underlined values are.
    pub(super) fn marks_in_words(&self) -> Option<&'static str> {
        let has =
            |is: fn(&super::Cell) -> bool| self.rows.iter().flat_map(|row| &row.cells).any(is);
        match (has(|cell| cell.best), has(|cell| cell.second)) {
            (true, true) => Some("Bold: best; underlined: second best."),
            (true, false) => Some("Bold: best."),
            _ => None,
        }
    }

    fn block(&self, text: &mut String, rows: &[Row], of: std::ops::Range<usize>, by: &Setting) {
        let left = by.heads.len();
        let n = of.len();
        *text += &format!(
            "\\begin{{tabular}}{{@{{}}{}{}@{{}}}}\n\\toprule\n",
            "l".repeat(left),
            "r".repeat(n)
        );
        let columns = &self.columns[of.clone()];
        // Headings of groups, with a rule below each.
        if columns.iter().any(|column| !column.group.is_empty()) {
            let mut heads = vec![String::new(); left];
            let mut rules = String::new();
            let mut at = 0;
            while at < n {
                let group = &columns[at].group;
                let size = columns[at..].iter().take_while(|of| of.group == *group).count();
                let room: f64 = self.widths(of.start + at..of.start + at + size, by.scale())
                    + (size - 1) as f64 * 2.0 * by.space;
                heads.push(format!(
                    "\\multicolumn{{{size}}}{{c}}{{{}}}",
                    boxed(group, room, by.scale(), "c")
                ));
                if !group.is_empty() {
                    let from = left + at + 1;
                    rules += &format!("\\cmidrule(lr){{{from}-{}}}", from + size - 1);
                }
                at += size;
            }
            *text += &format!("{} \\\\\n{rules}\n", heads.join(" & "));
        }
        let header = self.header();
        let heads = header[..left].iter().map(|head| escaped(&upper_first(head)));
        let titles = columns.iter().map(|column| escaped(&column.title));
        *text += &heads.chain(titles).collect::<Vec<String>>().join(" & ");
        *text += " \\\\\n\\midrule\n";
        let mut above: Option<&Row> = None;
        for row in rows {
            if above.is_some_and(|above| above.leads != row.leads || above.group != row.group) {
                *text += "\\midrule\n";
            }
            if !row.group.is_empty() && above.is_none_or(|above| above.group != row.group) {
                let room = self.total(of.clone(), by);
                *text += &format!(
                    "\\multicolumn{{{}}}{{@{{}}l}}{{{}}} \\\\\n",
                    left + n,
                    match width(&row.group) * by.scale() > room {
                        true => boxed(&row.group, room, by.scale(), "l"),
                        false => format!("\\emph{{{}}}", escaped(&row.group)),
                    }
                );
            }
            above = Some(row);
            let heads = self.row_head(row);
            let heads = heads.iter().zip(&by.heads).map(|(head, room)| match room {
                Some(room) => boxed(head, *room, by.scale(), "l"),
                None => escaped(head),
            });
            let cells = row.cells[of.clone()].iter().map(|cell| {
                let value = self.text(cell, "$\\pm$").replace('–', "--");
                let value = match (cell.best, cell.second) {
                    (true, _) => format!("\\textbf{{{value}}}"),
                    (_, true) => format!("\\underline{{{value}}}"),
                    _ => value,
                };
                match cell.differs {
                    true => format!("{value}\\rlap{{$^\\dagger$}}"),
                    false => value,
                }
            });
            *text += &heads.chain(cells).collect::<Vec<String>>().join(" & ");
            *text += " \\\\\n";
        }
        *text += "\\bottomrule\n\\end{tabular}\n";
    }

    /// The width of each leading column and of each column of numbers at 10 pt.
    fn natural(&self) -> (Vec<f64>, Vec<f64>) {
        let header = self.header();
        let left = header.len() - self.columns.len();
        let heads: Vec<Vec<String>> = self.rows.iter().map(|row| self.row_head(row)).collect();
        let of_head = |at: usize| {
            let texts = heads.iter().map(|head| width(&head[at]));
            texts.fold(width(&header[at]), f64::max)
        };
        let of_column = |at: usize| {
            let texts = self.rows.iter().map(|row| {
                let cell = &row.cells[at];
                let wide = if cell.best { BOLD } else { 1.0 };
                wide * width(&self.text(cell, "±"))
                    // The mark stands outside of the column, so that digits stay below each other.
                    + if cell.differs { width(MARK) * 0.6 } else { 0.0 }
            });
            texts.fold(width(&self.columns[at].title), f64::max)
        };
        ((0..left).map(of_head).collect(), (0..self.columns.len()).map(of_column).collect())
    }

    fn widths(&self, of: std::ops::Range<usize>, scale: f64) -> f64 {
        self.natural().1[of].iter().sum::<f64>() * scale
    }

    /// The width of a block.
    fn total(&self, of: std::ops::Range<usize>, by: &Setting) -> f64 {
        let (heads, _) = self.natural();
        let heads =
            heads.iter().zip(&by.heads).map(|(natural, room)| room.unwrap_or(natural * by.scale()));
        heads.sum::<f64>()
            + self.widths(of.clone(), by.scale())
            + 2.0 * by.space * (by.heads.len() + of.len() - 1) as f64
    }

    /// The largest type and the fewest columns of the page with which the table fits; where none does, its columns
    /// are in blocks below each other.
    fn setting(&self) -> Setting {
        let (heads, columns) = self.natural();
        let widths: &[bool] = match self.width {
            Some(Width::One) => &[false],
            Some(Width::Two) => &[true],
            None => &[false, true],
        };
        let mut last = None;
        for is_wide in widths {
            let room = if *is_wide { TWO } else { ONE };
            for space in SPACES {
                for (size, scale) in SIZES {
                    // Long names are wrapped rather than set smaller.
                    let share = if heads.len() > 1 { 0.55 } else { 0.42 };
                    let heads = head_rooms(&heads, scale, room * share);
                    let mut setting =
                        Setting { is_wide: *is_wide, size, space, heads, blocks: Vec::new() };
                    setting.blocks.push(0..columns.len());
                    if self.total(0..columns.len(), &setting) <= room {
                        return setting;
                    }
                    last = Some((setting, room));
                }
            }
        }
        let Some((mut setting, room)) = last else { return self.plain_setting() };
        setting.blocks.clear();
        let mut from = 0;
        while from < columns.len() {
            let mut to = from + 1;
            while to < columns.len() && self.total(from..to + 1, &setting) <= room {
                to += 1;
            }
            setting.blocks.push(from..to);
            from = to;
        }
        setting
    }

    fn plain_setting(&self) -> Setting {
        let left = self.header().len() - self.columns.len();
        Setting {
            is_wide: true,
            size: SIZES[2].0,
            space: SPACES[1],
            heads: vec![None; left],
            blocks: std::iter::once(0..self.columns.len()).collect(),
        }
    }
}

impl Setting {
    fn scale(&self) -> f64 {
        SIZES.iter().find(|(size, _)| *size == self.size).map_or(1.0, |(_, scale)| *scale)
    }
}

/// The rooms of leading columns that share `room`: those that are wider than their share are wrapped.
fn head_rooms(natural: &[f64], scale: f64, room: f64) -> Vec<Option<f64>> {
    let mut rooms = vec![None; natural.len()];
    let (mut open, mut rest): (Vec<usize>, f64) = ((0..natural.len()).collect(), room);
    // Narrow columns leave their share to the others.
    while let Some(at) = open.iter().position(|at| natural[*at] * scale <= rest / open.len() as f64)
    {
        rest -= natural[open.remove(at)] * scale;
    }
    for at in &open {
        rooms[*at] = Some(rest / open.len() as f64);
    }
    rooms
}

/// A text in so much room, wrapped where it is wider.
fn boxed(text: &str, room: f64, scale: f64, align: &str) -> String {
    if width(text) * scale <= room {
        return escaped(text);
    }
    let align = if align == "c" { "\\centering" } else { "\\raggedright" };
    format!(
        "\\parbox[t]{{{room:.0}pt}}{{{align}\\hspace{{0pt}}{}\\strut}}",
        breakable_in(text, room / scale)
    )
}

/// What `\ref` can name.
fn label(text: &str) -> String {
    let fine = |c: char| c.is_ascii_alphanumeric() || ":-.".contains(c);
    text.chars().map(|c| if fine(c) { c } else { '-' }).collect()
}

fn upper_first(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}", letters.as_str())
}
