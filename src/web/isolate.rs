//! Isolates text that is written from right to left, so that it does not move the text around it.
//!
//! Names, reasons and problems come from outside. By the bidirectional algorithm
//! (<https://www.unicode.org/reports/tr9/>), a right-to-left name changes places with a number
//! beside it, and a single override character reverses the rest of its paragraph. So every text
//! with such characters is put into an element `bdi`. This is done for the whole page, so that no
//! place can be forgotten.

/// Returns the page with each word that has right-to-left characters in a `bdi`; successive words
/// share one. `html` must be well-formed, with `<` and `>` only around tags, as [`maud`] writes it.
pub(super) fn isolate(html: String) -> String {
    if !html.chars().any(directs) {
        return html;
    }
    let mut out = String::with_capacity(html.len() + 64);
    let mut rest = html.as_str();
    let mut plain = false;
    while let Some(at) = rest.find('<') {
        let (text, from) = rest.split_at(at);
        put(text, plain, &mut out);
        let end = from.find('>').map_or(from.len(), |end| end + 1);
        let (tag, after) = from.split_at(end);
        out.push_str(tag);
        // These elements may not contain other elements.
        plain = ["<title", "<option", "<textarea"].iter().any(|begin| tag.starts_with(begin));
        rest = after;
    }
    put(rest, plain, &mut out);
    out
}

/// Writes one text between two tags. In a `plain` text, which cannot contain a `bdi`, the invisible
/// characters are left out.
fn put(text: &str, plain: bool, out: &mut String) {
    if plain {
        out.extend(text.chars().filter(|c| !is_control(*c)));
        return;
    }
    // Each piece is a word with the space after it.
    let mut isolated: Option<String> = None;
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        let space = piece.get(word.len()..).unwrap_or_default();
        if !word.chars().any(directs) {
            close(&mut isolated, out);
            out.push_str(piece);
            continue;
        }
        let bare = word.trim_start_matches(aside);
        if isolated.is_none() {
            out.push_str(word.get(..word.len() - bare.len()).unwrap_or_default());
            isolated = Some(bare.to_owned());
        } else if let Some(open) = &mut isolated {
            open.push_str(word);
        }
        if let Some(open) = &mut isolated {
            open.push_str(space);
        }
    }
    close(&mut isolated, out);
}

/// Writes the isolated text. Spaces and punctuation at its end belong to the sentence around it.
fn close(isolated: &mut Option<String>, out: &mut String) {
    let Some(open) = isolated.take() else { return };
    // `;` may be the end of a character reference.
    let bare = open.trim_end_matches(|c: char| c.is_whitespace() || (aside(c) && c != ';'));
    let after = open.get(bare.len()..).unwrap_or_default();
    out.push_str("<bdi>");
    out.push_str(bare);
    out.push_str("</bdi>");
    out.push_str(after);
}

/// Checks for punctuation that our sentences put around a name.
fn aside(c: char) -> bool {
    matches!(c, '`' | ',' | ':' | ';' | '.' | '(' | ')' | '!' | '?')
}

/// Checks for letters of right-to-left scripts, and for characters that set the direction.
fn directs(c: char) -> bool {
    is_control(c)
        || matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}')
        || matches!(c, '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

fn is_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use maud::html;

    use super::*;

    #[test]
    fn what_turns_is_isolated() {
        let name = "gpj\u{202e}<exe>";
        let page = html! {
            title { (name) " · Koschei" }
            p title=(name) { "of `" (name) "`: failed " b { "שלום" } " 7 " "שלום עולם, 9" }
        };
        let expected = "<title>gpj&lt;exe&gt; · Koschei</title><p title=\"gpj\u{202e}&lt;exe&gt;\">\
                        of `<bdi>gpj\u{202e}&lt;exe&gt;</bdi>`: failed \
                        <b><bdi>שלום</bdi></b> 7 <bdi>שלום עולם</bdi>, 9</p>";
        assert_eq!(isolate(page.into_string()), expected);
    }

    #[test]
    fn all_else_stays_as_it_is() {
        let page = html! { title { "é" } p { "a < b, `c`: ✔ ü  x" } }.into_string();
        assert_eq!(isolate(page.clone()), page);
        assert_eq!(isolate(format!("{page}<p>\u{202d}</p>")), format!("{page}<p><bdi>\u{202d}</bdi></p>"));
    }
}
