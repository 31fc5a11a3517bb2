//! Text for LaTeX: any name compiles with pdflatex and xelatex and is shown as text, and its width is known well enough
//! to fit tables to columns.

/// What a file with such texts has to define, so that characters without a command are shown by their number. A paper
/// whose fonts have them can define it otherwise.
pub const PREAMBLE: &str = "\\providecommand{\\assaychar}[1]{[U+#1]}\n";

/// Words that are wider at 10 pt may be broken, in points.
const LONGEST_WORD: f64 = 70.0;
/// Wider runs of letters may be broken anywhere.
const LONGEST_RUN: f64 = 60.0;

/// A text without markup.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_all(text, &mut out);
    out
}

/// The same, in which long words may be broken: behind punctuation, and where there is none anywhere.
pub fn breakable(text: &str) -> String {
    breakable_in(text, LONGEST_WORD)
}

/// The same where lines are as wide as `room`, in points at 10 pt.
pub fn breakable_in(text: &str, room: f64) -> String {
    let (word_room, run_room) = (room.min(LONGEST_WORD), (0.8 * room).min(LONGEST_RUN));
    let mut out = String::with_capacity(text.len() + 32);
    for (at, word) in text.split([' ', '\n', '\r', '\t']).enumerate() {
        if at > 0 {
            out.push(' ');
        }
        if width(word) <= word_room {
            push_all(word, &mut out);
            continue;
        }
        let letters: Vec<char> = word.chars().collect();
        let mut run = 0.0;
        for (at, c) in letters.iter().enumerate() {
            let next = letters.get(at + 1);
            push(*c, next.copied(), &mut out);
            run += width(&c.to_string());
            let is_full = next.is_some_and(|next| run + width(&next.to_string()) > run_room);
            if ",;:=[](){}/_-|@+&".contains(*c) || is_full {
                out.push_str("\\allowbreak{}");
                run = 0.0;
            }
        }
    }
    out
}

fn push_all(text: &str, out: &mut String) {
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        push(c, letters.peek().copied(), out);
    }
}

fn push(c: char, next: Option<char>, out: &mut String) {
    match c {
        '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
            out.push('\\');
            out.push(c);
        }
        '\\' => out.push_str("\\textbackslash{}"),
        '~' => out.push_str("\\textasciitilde{}"),
        '^' => out.push_str("\\textasciicircum{}"),
        '<' => out.push_str("\\textless{}"),
        '>' => out.push_str("\\textgreater{}"),
        '|' => out.push_str("\\textbar{}"),
        // Packages give it a meaning; the commands of quotes need more fonts.
        '"' => out.push_str("\\char34{}"),
        '`' => out.push_str("\\char96{}"),
        '\'' => out.push_str("\\char39{}"),
        // Together with the next they would be another character.
        '-' | '?' | '!' | ',' => {
            out.push(c);
            if next.is_some_and(|next| "-,`'‘’<>".contains(next)) {
                out.push_str("{}");
            }
        }
        '\n' | '\r' | '\t' => out.push(' '),
        ' '..='~' => out.push(c),
        _ => match named(c) {
            Some(command) => out.push_str(command),
            None => out.push_str(&format!("\\assaychar{{{:04X}}}", u32::from(c))),
        },
    }
}

/// The command of a character that papers have; LaTeX's own fonts show it.
fn named(c: char) -> Option<&'static str> {
    // Letters with accents and signs that every LaTeX since 2018 knows in UTF-8.
    const LETTERS: &str = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿŒœŠšŽžŁłČčĆćŃńŚśŹźŻżŘřĚěŮůŐőŰűĞğŞşİ";
    if let Some((at, of)) = LETTERS.char_indices().find(|(_, of)| *of == c) {
        return Some(&LETTERS[at..at + of.len_utf8()]);
    }
    Some(match c {
        '±' => "\\ensuremath{\\pm}",
        '×' => "\\ensuremath{\\times}",
        '÷' => "\\ensuremath{\\div}",
        '·' => "\\ensuremath{\\cdot}",
        '→' => "\\ensuremath{\\rightarrow}",
        '←' => "\\ensuremath{\\leftarrow}",
        '≤' => "\\ensuremath{\\leq}",
        '≥' => "\\ensuremath{\\geq}",
        '≠' => "\\ensuremath{\\neq}",
        '∞' => "\\ensuremath{\\infty}",
        '√' => "\\ensuremath{\\surd}",
        '−' => "\\ensuremath{-}",
        '²' => "\\ensuremath{^2}",
        '³' => "\\ensuremath{^3}",
        '°' => "\\ensuremath{^\\circ}",
        '†' => "\\ensuremath{^\\dagger}",
        '–' => "--",
        '—' => "---",
        '…' => "\\ldots{}",
        '‘' => "\\textquoteleft{}",
        '’' => "\\textquoteright{}",
        '“' => "``",
        '”' => "''",
        '\u{a0}' => "~",
        'α' => "\\ensuremath{\\alpha}",
        'β' => "\\ensuremath{\\beta}",
        'γ' => "\\ensuremath{\\gamma}",
        'δ' => "\\ensuremath{\\delta}",
        'ε' => "\\ensuremath{\\varepsilon}",
        'ζ' => "\\ensuremath{\\zeta}",
        'η' => "\\ensuremath{\\eta}",
        'θ' => "\\ensuremath{\\theta}",
        'κ' => "\\ensuremath{\\kappa}",
        'λ' => "\\ensuremath{\\lambda}",
        'μ' | 'µ' => "\\ensuremath{\\mu}",
        'ν' => "\\ensuremath{\\nu}",
        'ξ' => "\\ensuremath{\\xi}",
        'π' => "\\ensuremath{\\pi}",
        'ρ' => "\\ensuremath{\\rho}",
        'σ' => "\\ensuremath{\\sigma}",
        'τ' => "\\ensuremath{\\tau}",
        'φ' => "\\ensuremath{\\varphi}",
        'χ' => "\\ensuremath{\\chi}",
        'ψ' => "\\ensuremath{\\psi}",
        'ω' => "\\ensuremath{\\omega}",
        'Γ' => "\\ensuremath{\\Gamma}",
        'Δ' => "\\ensuremath{\\Delta}",
        'Θ' => "\\ensuremath{\\Theta}",
        'Λ' => "\\ensuremath{\\Lambda}",
        'Π' => "\\ensuremath{\\Pi}",
        'Σ' => "\\ensuremath{\\Sigma}",
        'Φ' => "\\ensuremath{\\Phi}",
        'Ψ' => "\\ensuremath{\\Psi}",
        'Ω' => "\\ensuremath{\\Omega}",
        _ => return None,
    })
}

/// Widths of Computer Modern at 10 pt, in hundredths of a point; from `cmr10.tfm`. LaTeX's other text fonts are
/// narrower.
fn width_of(c: char) -> u32 {
    match c {
        'i' | 'l' | ',' | '.' | ':' | ';' | '!' | '[' | ']' | '\'' | ' ' => 333,
        'f' | 'j' | 'r' | 's' | 't' | '(' | ')' | '-' => 400,
        'm' | 'M' | 'W' => 1028,
        'w' | '+' | '=' | '<' | '>' | '&' | '%' | '#' | '@' | '±' | '~' | '_' | '|' => 800,
        'a' | 'c' | 'e' | 'g' | 'o' | 'z' | '0'..='9' => 500,
        'b' | 'd' | 'h' | 'k' | 'n' | 'p' | 'q' | 'u' | 'v' | 'x' | 'y' => 556,
        'I' | 'J' => 514,
        'A'..='Z' => 785,
        ' '..='~' => 600,
        '\u{80}'..='\u{24f}' | '–' | '†' => 785,
        _ if named(c).is_some() => 1000,
        // `[U+1F600]`
        _ => 5400,
    }
}

/// The width of a text at 10 pt, in points, and a little more.
pub fn width(text: &str) -> f64 {
    text.chars().map(|c| f64::from(width_of(c))).sum::<f64>() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_shown_as_text() {
        assert_eq!(escaped("a_b & 50% {x}"), "a\\_b \\& 50\\% \\{x\\}");
        assert_eq!(escaped("\\input{x}"), "\\textbackslash{}input\\{x\\}");
        assert_eq!(escaped("a-b, --?`"), "a-b, -{}-?{}\\char96{}");
        assert_eq!(escaped("α=1 ± é"), "\\ensuremath{\\alpha}=1 \\ensuremath{\\pm} é");
        assert_eq!(
            escaped("א\u{202e}\u{1b}"),
            "\\assaychar{05D0}\\assaychar{202E}\\assaychar{001B}"
        );
        assert_eq!(escaped("a\nb"), "a b");
    }

    #[test]
    fn long_words_can_be_broken() {
        let text = breakable(&"x".repeat(40));
        assert_eq!(text.matches("\\allowbreak").count(), 3);
        let text = breakable("gat[profiles=unified,cosine=on]");
        assert_eq!(text.matches("\\allowbreak").count(), 5);
        assert_eq!(breakable("a (b, c) = d"), "a (b, c) = d");
    }
}
