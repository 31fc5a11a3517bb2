//! Figures as PDF, for pdfLaTeX, which does not read SVG.

use std::sync::{Arc, OnceLock};

use svg2pdf::{
    ConversionOptions, PageOptions,
    usvg::{Options, Tree, fontdb::Database},
};

use super::canvas::FONT;

/// Pixels per inch: a sheet of 500 is a column of 3⅓ inches, as in PNG.
const DPI: f32 = 150.0;

/// A figure's SVG as a page of its size. Texts stay texts, in the font of PNG, whatever the machine has; what takes its colour
/// from the page is black. Equal SVG gives equal bytes.
pub fn pdf(svg: &str) -> Result<Vec<u8>, String> {
    static FONTS: OnceLock<Arc<Database>> = OnceLock::new();
    let fonts = FONTS.get_or_init(|| {
        let mut fonts = Database::new();
        fonts.load_font_data(FONT.to_vec());
        let family = fonts.faces().next().and_then(|face| Some(face.families.first()?.0.clone()));
        if let Some(family) = family {
            fonts.set_sans_serif_family(family);
        }
        Arc::new(fonts)
    });
    let options = Options { fontdb: fonts.clone(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|error| error.to_string())?;
    let page = PageOptions { dpi: DPI };
    let made = svg2pdf::to_pdf(&tree, ConversionOptions::default(), page);
    made.map(sorted).map_err(|error| error.to_string())
}

/// With the entries of each dictionary of resources in order: svg2pdf writes them in that of a hash map, another one each time.
/// They keep their bytes together, so no object moves.
fn sorted(made: Vec<u8>) -> Vec<u8> {
    let mut is_stream = false;
    let marked = made.split(|byte| *byte == b'\n').map(|line| {
        match line {
            b"stream" => is_stream = true,
            _ if line.ends_with(b"endstream") => is_stream = false,
            _ => {}
        }
        (!is_stream && is_resource(line), line)
    });
    let mut lines: Vec<(bool, &[u8])> = marked.collect();
    for dictionary in lines.chunk_by_mut(|(one, _), (next, _)| *one && *next) {
        dictionary.sort_unstable_by_key(|(_, line)| *line);
    }
    let lines: Vec<&[u8]> = lines.iter().map(|(_, line)| *line).collect();
    lines.join(&b'\n')
}

/// `  /xo12 34 0 R`
fn is_resource(line: &[u8]) -> bool {
    let Some((_, name)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once('/'))
    else {
        return false;
    };
    let words: Vec<&str> = name.split(' ').collect();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    matches!(words[..], [name, object, "0", "R"]
        if is_number(object) && is_number(name.trim_start_matches(|of: char| of.is_ascii_lowercase())))
}

#[cfg(test)]
mod tests {
    use super::{
        super::canvas::{Anchor, Canvas},
        *,
    };

    #[test]
    fn a_figure_of_one_column_is_one_column_wide_with_its_text_as_text() {
        let mut canvas = Canvas::new(500.0, 300.0, "a figure");
        canvas.text((20.0, 40.0), "nDCG@10 <b> Пушкин", 12.0, Anchor::Start);
        let svg = canvas.svg();
        let made = pdf(&svg).unwrap();
        let text = String::from_utf8_lossy(&made);
        assert!(text.starts_with("%PDF-1.7"));
        assert!(text.contains("/MediaBox [0 0 240 144]"), "{text}");
        assert!(text.contains("DejaVuSansCondensed"), "the font is in the file");
        assert!(pdf("<svg").is_err());
    }

    /// With 20 entries in a dictionary, two orders of a hash map are never the same.
    #[test]
    fn equal_figures_have_equal_bytes() {
        let shapes = |at: usize| {
            let at = at as f64;
            format!(
                "<g opacity=\"{}\"><circle r=\"{at}\"/><rect width=\"{at}\" height=\"9\"/></g>",
                0.1 + at / 40.0
            )
        };
        let shapes: String = (1..=20).map(shapes).collect();
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"500\" height=\"300\">{shapes}</svg>"
        );
        let made = pdf(&svg).unwrap();
        assert!(String::from_utf8_lossy(&made).contains("/xo19 "), "the dictionary is large");
        for _ in 0..5 {
            assert!(pdf(&svg).unwrap() == made);
        }
    }
}
