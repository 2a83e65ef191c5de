//! Parses any text as a rich dependency. A parsed dependency is within the bounds and, written and
//! parsed again, means the same.
#![no_main]

use koschei::repodata::{RICH_DEPTH_MAX, RICH_TERMS_MAX, Rich, RichOp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(rich) = Rich::parse(text) else { return };
    let (mut terms, mut ambiguous) = (0, false);
    rich.for_each_plain(&mut |plain| {
        terms += 1;
        // `0:1:2` and `1-2-` lose a part that has no meaning, and the rest parses to another value.
        // The same happens if a word opens a parenthesis without closing it and, once written,
        // stands before the one that closes the group.
        ambiguous |= plain.relation.as_ref().is_some_and(|relation| {
            let evr = &relation.evr;
            evr.version.contains([':', '-', '(', ')'])
                || evr.release.as_ref().is_some_and(|r| r.contains([':', '(', ')']))
        });
        ambiguous |= plain.name.matches('(').count() != plain.name.matches(')').count();
    });
    assert!((1..=RICH_TERMS_MAX).contains(&terms));
    let written = write(&rich);
    if !ambiguous && depth(&written) <= RICH_DEPTH_MAX {
        assert_eq!(Rich::parse(&written).as_ref(), Ok(&rich), "{written}");
    }
});

fn write(rich: &Rich) -> String {
    match rich {
        Rich::Plain(plain) => format!("({plain})"),
        Rich::Node(op, left, right) => {
            let word = match op {
                RichOp::And => "and",
                RichOp::Or => "or",
                RichOp::If => "if",
                RichOp::Unless => "unless",
                RichOp::Else => "else",
                RichOp::With => "with",
                RichOp::Without => "without",
            };
            let takes_else = matches!(op, RichOp::If | RichOp::Unless | RichOp::Else);
            match &**right {
                Rich::Node(RichOp::Else, condition, other) if takes_else => {
                    format!("({} {word} {} else {})", write(left), write(condition), write(other))
                }
                right => format!("({} {word} {})", write(left), write(right)),
            }
        }
    }
}

fn depth(text: &str) -> usize {
    let mut open = 0_usize;
    let mut most = 0;
    for c in text.chars() {
        match c {
            '(' => open += 1,
            ')' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}
