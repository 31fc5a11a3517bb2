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
    svg2pdf::to_pdf(&tree, ConversionOptions::default(), page).map_err(|error| error.to_string())
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
        assert_eq!(pdf(&svg).unwrap(), made);
        assert!(pdf("<svg").is_err());
    }
}
