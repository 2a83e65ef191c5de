//! Parses rich (boolean) dependencies: `(a or b)`, `(a if b else c)`, … Grammar: rpm manual,
//! "Boolean Dependencies".
//!
//! libsolv does not export its own parser, so we parse the text and feed the result to libsolv.
//! This parser also bounds what libsolv gets. libsolv turns a rich dependency into clauses, whose
//! number grows exponentially with alternating `and` and `or`.

use super::dependency::{DepEvr, Dependency, DependencyError, Op, Relation, is_space};

/// Most levels of nested parentheses.
pub const RICH_DEPTH_MAX: usize = 64;
/// Most plain dependencies in one rich dependency.
pub const RICH_TERMS_MAX: usize = 1 << 16;
/// Most levels of nested operators. They include the levels of a chain that has to be nested
/// (`a if b if c`). All code that reads a rich dependency recurses this deep, on thread stacks.
pub const RICH_TREE_MAX: usize = 400;
/// Longest chain of `and`, `or` or `with` that we nest to the right, as libsolv does. We nest
/// longer chains evenly, which means the same.
const NESTED_CHAIN_MAX: usize = 64;
/// Most clauses of the conjunctive or the disjunctive normal form.
pub const RICH_CLAUSES_MAX: u64 = 1 << 16;
/// Most characters of a dependency in an error text.
const SHOWN_MAX: usize = 120;

/// The operators of rich dependencies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RichOp {
    /// Both sides.
    And,
    /// One of the sides.
    Or,
    /// The left side if the right side is installed.
    If,
    /// The left side unless the right side is installed.
    Unless,
    /// The third part of `if` and `unless`. It is the right side of that operator, and its own
    /// sides are the condition and the alternative. The parser also accepts `(a else b)` alone.
    Else,
    /// One package that provides both sides.
    With,
    /// One package that provides the left side but not the right side.
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

    /// Checks whether `a op (b op c)` means the same as `(a op b) op c`.
    const fn is_associative(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::With)
    }
}

/// A parsed rich dependency. Chains are nested to the right, as in libsolv, unless they are very
/// long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rich {
    /// A plain dependency.
    Plain(Dependency),
    /// An operator with its two sides.
    Node(RichOp, Box<Rich>, Box<Rich>),
}

impl Rich {
    /// Parses the text of a rich dependency.
    ///
    /// # Errors
    /// Returns [`DependencyError::Rich`] if the text does not follow the grammar. The grammar is
    /// libsolv's, which is wider than rpm's: every operator may be repeated. Returns
    /// [`DependencyError::RichBound`] if the text exceeds [`RICH_DEPTH_MAX`], [`RICH_TREE_MAX`],
    /// [`RICH_TERMS_MAX`] or [`RICH_CLAUSES_MAX`].
    pub fn parse(text: &str) -> Result<Self, DependencyError> {
        let shown = || text.chars().take(SHOWN_MAX).collect();
        let fail = |fault| match fault {
            Fault::Grammar(problem) => DependencyError::Rich { text: shown(), problem },
            Fault::Bound(problem) => DependencyError::RichBound { text: shown(), problem },
        };
        let mut parser = Parser { rest: text.trim_matches(is_space), depth: 0, terms: 0 };
        let (rich, _) = parser.group().map_err(fail)?;
        if !parser.rest.trim_start_matches(is_space).is_empty() {
            return Err(fail(Fault::Grammar("something follows the last parenthesis")));
        }
        let (conjunctive, disjunctive) = rich.clauses();
        if conjunctive.max(disjunctive) > RICH_CLAUSES_MAX {
            return Err(fail(Fault::Bound("it expands to more alternatives than this program handles")));
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

    /// Returns upper bounds for the number of clauses: of the conjunctive normal form and of the
    /// disjunctive one.
    fn clauses(&self) -> (u64, u64) {
        let Self::Node(op, left, right) = self else { return (1, 1) };
        let ((lc, ld), (rc, rd)) = (left.clauses(), right.clauses());
        match op {
            RichOp::And => (lc.saturating_add(rc), ld.saturating_mul(rd)),
            RichOp::Or => (lc.saturating_mul(rc), ld.saturating_add(rd)),
            // A condition counts negated, which swaps its two forms. `else` needs it both ways.
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

enum Fault {
    Grammar(&'static str),
    Bound(&'static str),
}

impl From<&'static str> for Fault {
    fn from(problem: &'static str) -> Self {
        Self::Grammar(problem)
    }
}

/// A parsed part and the number of operators nested in it.
type Nested = (Rich, usize);

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
    terms: usize,
}

impl<'a> Parser<'a> {
    /// Parses `( operand [op operand]… )`.
    fn group(&mut self) -> Result<Nested, Fault> {
        self.depth += 1;
        if self.depth > RICH_DEPTH_MAX {
            return Err(Fault::Bound("parentheses are nested too deep"));
        }
        self.rest = self.rest.strip_prefix('(').ok_or("a parenthesis is missing")?;
        let mut operands = vec![self.operand()?];
        let mut operators: Vec<RichOp> = Vec::new();
        loop {
            self.rest = self.rest.trim_start_matches(is_space);
            if let Some(rest) = self.rest.strip_prefix(')') {
                self.rest = rest;
                break;
            }
            let op = RichOp::parse(self.word()).ok_or("an operator is missing or not known")?;
            match (operators.last(), op) {
                (None, _) | (Some(RichOp::If | RichOp::Unless), RichOp::Else) => {}
                (Some(&before), op) if before == op => {}
                _ => return Err("different operators need parentheses".into()),
            }
            operators.push(op);
            operands.push(self.operand()?);
        }
        self.depth -= 1;
        let last = operands.pop().ok_or("an operand is missing")?;
        match operators.first() {
            Some(&op) if op.is_associative() && operators.len() > NESTED_CHAIN_MAX => {
                operands.push(last);
                even(op, operands)
            }
            _ => operators
                .into_iter()
                .rev()
                .zip(operands.into_iter().rev())
                .try_fold(last, |right, (op, left)| node(op, left, right)),
        }
    }

    fn operand(&mut self) -> Result<Nested, Fault> {
        self.rest = self.rest.trim_start_matches(is_space);
        if self.rest.starts_with('(') {
            return self.group();
        }
        self.terms += 1;
        if self.terms > RICH_TERMS_MAX {
            return Err(Fault::Bound("it has too many parts"));
        }
        let name = self.word();
        if name.is_empty() {
            return Err("an operand is missing".into());
        }
        self.rest = self.rest.trim_start_matches(is_space);
        let operator = self.rest.find(|c| !matches!(c, '<' | '=' | '>')).unwrap_or(self.rest.len());
        let (operator, rest) = self.rest.split_at(operator);
        let relation = if operator.is_empty() {
            None
        } else {
            self.rest = rest.trim_start_matches(is_space);
            let op = Op::parse(operator).ok_or("a comparison is not known")?;
            let word = self.word();
            let evr = match DepEvr::parse(word) {
                Ok(evr) => evr,
                // libsolv takes the part before the colon as an epoch only if it consists of
                // digits. Otherwise the whole word is the version.
                Err(_) if !word.starts_with(|c: char| c.is_ascii_digit()) => {
                    DepEvr { epoch: None, version: word.into(), release: None }
                }
                Err(_) => return Err("an epoch is not a number".into()),
            };
            if evr.version.is_empty() {
                return Err("a version is missing".into());
            }
            Some(Relation { op, evr })
        };
        Ok((Rich::Plain(Dependency { name: name.into(), relation }), 0))
    }

    /// Reads a word. It ends at a space, at a comma, or at the parenthesis that closes the group.
    /// Balanced parentheses inside the word belong to it.
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

fn node(op: RichOp, left: Nested, right: Nested) -> Result<Nested, Fault> {
    let depth = left.1.max(right.1) + 1;
    if depth > RICH_TREE_MAX {
        return Err(Fault::Bound("operators are nested too deep"));
    }
    Ok((Rich::Node(op, Box::new(left.0), Box::new(right.0)), depth))
}

/// Nests a long chain evenly, so that no code has to recurse over its whole length.
fn even(op: RichOp, mut operands: Vec<Nested>) -> Result<Nested, Fault> {
    if operands.len() > 2 {
        let right = operands.split_off(operands.len() / 2);
        return node(op, even(op, operands)?, even(op, right)?);
    }
    let right = operands.pop().ok_or("an operand is missing")?;
    operands.pop().map_or(Ok(right.clone()), |left| node(op, left, right))
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
    #[case("(a without b without c)", "[a Without [b Without c]]")]
    #[case("(a if b if c)", "[a If [b If c]]")]
    #[case("(a unless b unless c else d)", "[a Unless [b Unless [c Else d]]]")]
    #[case("(a if b else c else d)", "[a If [b Else [c Else d]]]")]
    #[case("(a else b)", "[a Else b]")]
    #[case("(a >= x:1)", "a >= x:1")]
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
    #[case("(a if b else c if d)", "different operators")]
    #[case("(a unless b if c)", "different operators")]
    #[case("(a or b", "operator is missing")]
    #[case("(a or b) c", "something follows")]
    #[case("()", "operand is missing")]
    #[case("(a without b with c)", "different operators")]
    #[case("(2008-06-25)\"", "something follows")]
    #[case("(a >= 99999999999:1)", "epoch")]
    #[case("(a = 0:\r-3)", "a version is missing")]
    fn refuses(#[case] text: &str, #[case] expected: &str) {
        let error = Rich::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn bounds_are_kept() {
        let deep = format!("{}a or b{}", "(".repeat(200), ")".repeat(200));
        assert!(Rich::parse(&deep).unwrap_err().to_string().contains("nested too deep"));
        let chain = |n, op| format!("({})", vec!["a"; n].join(op));
        assert!(Rich::parse(&chain(RICH_TERMS_MAX + 1, " or ")).unwrap_err().to_string().contains("too many parts"));
        assert!(Rich::parse(&chain(RICH_TREE_MAX + 2, " if ")).unwrap_err().to_string().contains("nested too deep"));
        let exponential = format!("({})", (0..40).map(|i| format!("(a{i} and b{i})")).collect::<Vec<_>>().join(" or "));
        assert!(Rich::parse(&exponential).unwrap_err().to_string().contains("more alternatives"));
    }

    proptest! {
        /// Any text gets an answer without a panic.
        #[test]
        fn total(text in r"\(?[ab()<=>:,/ ]{0,40}(or|if|else|with)?[ab() ]{0,20}") {
            if let Ok(rich) = Rich::parse(&text) {
                rich.for_each_plain(&mut |_| {});
            }
        }
    }
}
