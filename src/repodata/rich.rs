//! Rich (boolean) dependencies: `(a or b)`, `(a if b else c)`, … Grammar: rpm manual, "Boolean Dependencies".
//!
//! libsolv's own parser is not exported by the library, so this one feeds it. It also bounds what is fed: libsolv turns a
//! rich dependency into clauses, and their number grows exponentially with alternating `and` and `or`.

use super::dependency::{DepEvr, Dependency, DependencyError, Op, Relation, is_space};

/// Parentheses inside each other.
pub const RICH_DEPTH_MAX: usize = 64;
/// Plain dependencies in one rich one.
pub const RICH_TERMS_MAX: usize = 256;
/// Clauses of the conjunctive or the disjunctive form.
pub const RICH_CLAUSES_MAX: u64 = 1 << 16;
/// Characters of a dependency shown in an error.
const SHOWN_MAX: usize = 120;

/// The operators.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RichOp {
    /// Both.
    And,
    /// One of them.
    Or,
    /// The left one if the right one is there.
    If,
    /// The left one unless the right one is there.
    Unless,
    /// Third part of `if` and `unless`; only as the right side of one, holding condition and alternative.
    Else,
    /// One package that provides both.
    With,
    /// One package that provides the left one and not the right one.
    Without,
}

impl RichOp {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "and" => Self::And,
            "or" => Self::Or,
            "if" => Self::If,
            "unless" => Self::Unless,
            "else" => Self::Else,
            "with" => Self::With,
            "without" => Self::Without,
            _ => return None,
        })
    }

    /// May be repeated without parentheses: `(a or b or c)`.
    const fn chains(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::With)
    }
}

/// A parsed rich dependency. Chains are nested to the right, as libsolv nests them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rich {
    /// A plain dependency.
    Plain(Dependency),
    /// Two parts and their operator.
    Node(RichOp, Box<Rich>, Box<Rich>),
}

impl Rich {
    /// Parses the text of a rich dependency.
    ///
    /// # Errors
    /// [`DependencyError::Rich`]: not the grammar, or beyond [`RICH_DEPTH_MAX`], [`RICH_TERMS_MAX`] or [`RICH_CLAUSES_MAX`].
    pub fn parse(text: &str) -> Result<Self, DependencyError> {
        let fail = |problem| DependencyError::Rich { text: text.chars().take(SHOWN_MAX).collect(), problem };
        let mut parser = Parser { rest: text.trim_matches(is_space), depth: 0, terms: 0 };
        let rich = parser.group().map_err(fail)?;
        if !parser.rest.trim_start_matches(is_space).is_empty() {
            return Err(fail("something follows the last parenthesis"));
        }
        let (conjunctive, disjunctive) = rich.clauses();
        if conjunctive.max(disjunctive) > RICH_CLAUSES_MAX {
            return Err(fail("it expands to more alternatives than this program handles"));
        }
        Ok(rich)
    }

    /// Calls `visit` with every plain dependency, from left to right.
    pub fn for_each_plain<'a>(&'a self, visit: &mut impl FnMut(&'a Dependency)) {
        match self {
            Self::Plain(dependency) => visit(dependency),
            Self::Node(_, left, right) => {
                left.for_each_plain(visit);
                right.for_each_plain(visit);
            }
        }
    }

    /// Upper bounds of the clauses of the conjunctive and of the disjunctive normal form.
    fn clauses(&self) -> (u64, u64) {
        let Self::Node(op, left, right) = self else { return (1, 1) };
        let ((lc, ld), (rc, rd)) = (left.clauses(), right.clauses());
        match op {
            RichOp::And => (lc.saturating_add(rc), ld.saturating_mul(rd)),
            RichOp::Or => (lc.saturating_mul(rc), ld.saturating_add(rd)),
            // A condition counts negated, which swaps its forms; `else` needs it both ways.
            RichOp::If => (lc.saturating_mul(rd), ld.saturating_add(rc)),
            RichOp::Unless => (lc.saturating_add(rd), ld.saturating_mul(rc)),
            RichOp::Else => {
                let worst = lc.max(ld).saturating_mul(rc.max(rd));
                (worst, worst)
            }
            RichOp::With | RichOp::Without => (1, 1),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
    terms: usize,
}

impl<'a> Parser<'a> {
    /// `( operand [op operand]… )`
    fn group(&mut self) -> Result<Rich, &'static str> {
        self.depth += 1;
        if self.depth > RICH_DEPTH_MAX {
            return Err("parentheses are nested too deep");
        }
        self.rest = self.rest.strip_prefix('(').ok_or("a parenthesis is missing")?;
        let mut operands = vec![self.operand()?];
        let mut first = None;
        let mut alternative = None;
        loop {
            self.rest = self.rest.trim_start_matches(is_space);
            if let Some(rest) = self.rest.strip_prefix(')') {
                self.rest = rest;
                break;
            }
            let op = RichOp::parse(self.word()).ok_or("an operator is missing or not known")?;
            let right = self.operand()?;
            match (first, op) {
                (Some(RichOp::If | RichOp::Unless), RichOp::Else) if alternative.is_none() => alternative = Some(right),
                (None, RichOp::Else) => return Err("`else` without `if` or `unless`"),
                (None, op) => {
                    first = Some(op);
                    operands.push(right);
                }
                (Some(before), op) if before == op && op.chains() => operands.push(right),
                _ => return Err("different operators need parentheses"),
            }
        }
        self.depth -= 1;
        let mut folded = operands.pop().ok_or("an operand is missing")?;
        if let Some(alternative) = alternative {
            folded = Rich::Node(RichOp::Else, Box::new(folded), Box::new(alternative));
        }
        let Some(op) = first else { return Ok(folded) };
        while let Some(left) = operands.pop() {
            folded = Rich::Node(op, Box::new(left), Box::new(folded));
        }
        Ok(folded)
    }

    fn operand(&mut self) -> Result<Rich, &'static str> {
        self.rest = self.rest.trim_start_matches(is_space);
        if self.rest.starts_with('(') {
            return self.group();
        }
        self.terms += 1;
        if self.terms > RICH_TERMS_MAX {
            return Err("it has too many parts");
        }
        let name = self.word();
        if name.is_empty() {
            return Err("an operand is missing");
        }
        self.rest = self.rest.trim_start_matches(is_space);
        let operator = self.rest.find(|c| !matches!(c, '<' | '=' | '>')).unwrap_or(self.rest.len());
        let (operator, rest) = self.rest.split_at(operator);
        let relation = if operator.is_empty() {
            None
        } else {
            self.rest = rest.trim_start_matches(is_space);
            let op = Op::parse(operator).ok_or("a comparison is not known")?;
            let evr = DepEvr::parse(self.word()).map_err(|_| "an epoch is not a number")?;
            if evr.version.is_empty() {
                return Err("a version is missing");
            }
            Some(Relation { op, evr })
        };
        Ok(Rich::Plain(Dependency { name: name.into(), relation }))
    }

    /// Up to a space, a comma, or the parenthesis that closes the group; parentheses inside the word are its own.
    fn word(&mut self) -> &'a str {
        let mut open = 0usize;
        let end = self.rest.find(|c: char| match c {
            '(' => {
                open += 1;
                false
            }
            ')' if open > 0 => {
                open -= 1;
                false
            }
            ')' | ',' => true,
            _ => is_space(c),
        });
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn show(rich: &Rich) -> String {
        match rich {
            Rich::Plain(d) => d.to_string(),
            Rich::Node(op, l, r) => format!("[{} {op:?} {}]", show(l), show(r)),
        }
    }

    #[rstest]
    #[case("(a or b or c)", "[a Or [b Or c]]")]
    #[case("(pkgconfig(x) >= 1:2-3 if b(x86-64))", "[pkgconfig(x) >= 1:2-3 If b(x86-64)]")]
    #[case("(a if b else (c and d))", "[a If [b Else [c And d]]]")]
    #[case("(a < 2 with a >= 1)", "[a < 2 With a >= 1]")]
    #[case("(/usr/bin/x)", "/usr/bin/x")]
    #[case("(a\ror\u{b}b\u{c}>= \r3\u{c})", "[a Or b >= 3]")]
    fn parses(#[case] text: &str, #[case] expected: &str) {
        match Rich::parse(text) {
            Ok(rich) => assert_eq!(show(&rich), expected),
            Err(error) => panic!("{error}"),
        }
    }

    #[rstest]
    #[case("(a or b and c)", "different operators")]
    #[case("(a else b)", "`else` without")]
    #[case("(a or b", "operator is missing")]
    #[case("(a or b) c", "something follows")]
    #[case("()", "operand is missing")]
    #[case("(a without b without c)", "different operators")]
    #[case("(a >= x:1)", "epoch")]
    #[case("(a = 0:\r-3)", "a version is missing")]
    fn refuses(#[case] text: &str, #[case] expected: &str) {
        let error = Rich::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn bounds_are_kept() {
        let deep = format!("{}a or b{}", "(".repeat(200), ")".repeat(200));
        assert!(Rich::parse(&deep).unwrap_err().to_string().contains("nested too deep"));
        let wide = format!("({})", vec!["a"; 300].join(" or "));
        assert!(Rich::parse(&wide).unwrap_err().to_string().contains("too many parts"));
        let exponential = format!("({})", (0..40).map(|i| format!("(a{i} and b{i})")).collect::<Vec<_>>().join(" or "));
        assert!(Rich::parse(&exponential).unwrap_err().to_string().contains("more alternatives"));
    }

    proptest! {
        /// Whatever the text, an answer and no panic.
        #[test]
        fn total(text in r"\(?[ab()<=>:,/ ]{0,40}(or|if|else|with)?[ab() ]{0,20}") {
            if let Ok(rich) = Rich::parse(&text) {
                rich.for_each_plain(&mut |_| {});
            }
        }
    }
}
