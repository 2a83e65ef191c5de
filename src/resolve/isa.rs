//! Translates build requirements that are bound to an architecture (`libfoo-devel(x86-64)`) for
//! resolution on another one.
//!
//! A spec file says `libfoo-devel%{?_isa}`. The source package has the value of the machine it was
//! made on. The real build on another architecture evaluates the spec file anew and requires the
//! name of its own architecture. If we took the requirement literally, it could never be met there,
//! and a package that builds would count as broken.
//!
//! We cannot see whether the spec file has a requirement at all on another architecture
//! (`%ifarch`). We never add or drop requirements.

use std::borrow::Cow;
use std::collections::BTreeSet;

use smol_str::SmolStr;

use crate::model::arch::{is_isa, isa};
use crate::repodata::RepoContent;

/// Returns a requirement as it would be written on `arch`, borrowed if nothing changes. Versions,
/// operators and spaces stay as they are. Each part of a rich requirement is translated separately.
/// Cost: linear in the text.
///
/// The rule, for each part `name(ISA)` whose ISA belongs to another architecture:
///
/// 1. If we know the architecture that the source package was made on (`made_on`), its ISA came
///    from `%{?_isa}` and is translated. Any other ISA is intended (`glibc-devel(x86-32)` on
///    `x86_64`: multilib) and stays.
/// 2. If we do not know it, the part stays if the repository provides it as written (`provided`).
///    Otherwise it is translated, because literally it could not be met anyway. We do not know it
///    if the hub does not say, or if the header says `noarch`: the macro was expanded before rpm
///    reads `BuildArch`. This rule has one error: an intended requirement on another architecture
///    that is missing passes if the repository has the same package of its own architecture.
///
/// Nothing is translated to an architecture that has no ISA name.
pub fn for_arch<'a>(
    requirement: &'a str,
    arch: &str,
    made_on: Option<&str>,
    provided: impl Fn(&str) -> bool,
) -> Cow<'a, str> {
    translate(requirement, arch, made_on, provided, |_, _| ())
}

/// Like [`for_arch`], but also reports each translated capability: its new name and its old one.
fn translate<'a>(
    requirement: &'a str,
    arch: &str,
    made_on: Option<&str>,
    provided: impl Fn(&str) -> bool,
    mut tell: impl FnMut(String, &str),
) -> Cow<'a, str> {
    // Fast path: nearly all requirements are not bound to an architecture.
    if !requirement.contains("64)") && !requirement.contains("32)") {
        return Cow::Borrowed(requirement);
    }
    let Some(own) = isa(arch) else { return Cow::Borrowed(requirement) };
    let made_on = made_on.and_then(isa);
    let mut text = String::new();
    // Position in `requirement` up to which `text` has the result.
    let mut done = 0;
    for word in words(requirement) {
        let Some((name, bound)) = split_isa(word.text) else { continue };
        let foreign = bound != own && made_on.map_or_else(|| !provided(word.text), |made_on| made_on == bound);
        if foreign {
            // The position of the ISA, before its closing parenthesis.
            let at = word.at + word.text.len() - bound.len() - 1;
            text.push_str(requirement.get(done..at).unwrap_or_default());
            text.push_str(own);
            done = at + bound.len();
            tell(format!("{name}({own})"), word.text);
        }
    }
    if done == 0 {
        return Cow::Borrowed(requirement);
    }
    text.push_str(requirement.get(done..).unwrap_or_default());
    Cow::Owned(text)
}

/// Splits a capability that is bound to an architecture into name and ISA: `libfoo-devel(x86-64)` →
/// `libfoo-devel`, `x86-64`.
fn split_isa(capability: &str) -> Option<(&str, &str)> {
    let (name, isa) = capability.strip_suffix(')')?.rsplit_once('(')?;
    (!name.is_empty() && is_isa(isa)).then_some((name, isa))
}

struct Word<'a> {
    at: usize,
    text: &'a str,
}

/// Returns the words of a plain or rich requirement: names, operators and versions. Words are
/// separated by spaces, commas and the parentheses of groups. Parentheses inside a word belong to
/// it, as in rpm's parser.
fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let start = at + rest.find(|c| !matches!(c, ' ' | '\t' | '\n' | ',' | '(' | ')'))?;
        let rest = text.get(start..)?;
        let mut open = 0_usize;
        let length = rest.find(|c| match c {
            '(' => {
                open += 1;
                false
            }
            ')' if open > 0 => {
                open -= 1;
                false
            }
            _ => matches!(c, ' ' | '\t' | '\n' | ',' | ')'),
        });
        let word = rest.get(..length.unwrap_or(rest.len()))?;
        at = start + word.len();
        Some(Word { at: start, text: word })
    })
}

/// Build requirements of one source package, translated for one architecture.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BuildRequires {
    /// Requirements to resolve, in the order of the source package.
    pub requires: Vec<String>,
    /// Translated capabilities in them, each once: the new name and the name in the source package.
    pub translated: Vec<(String, String)>,
    /// BuildConflicts as written, for [`super::Resolver::resolve_source`].
    pub conflicts: Vec<String>,
}

impl BuildRequires {
    /// Makes requirements without translation.
    pub fn literal(requires: Vec<String>) -> Self {
        Self { requires, ..Self::default() }
    }

    /// Adds BuildConflicts.
    #[must_use]
    pub fn conflicting(self, conflicts: Vec<String>) -> Self {
        Self { conflicts, ..self }
    }

    /// Translates each requirement by the rule of [`for_arch`]. Cost: linear in the text; only
    /// changed requirements are copied.
    #[must_use]
    pub fn for_arch(self, arch: &str, made_on: Option<&str>, provided: impl Fn(&str) -> bool) -> Self {
        let Self { mut requires, mut translated, conflicts } = self;
        for requirement in &mut requires {
            let text = translate(requirement, arch, made_on, &provided, |now, was| {
                if !translated.iter().any(|(known, of)| *known == now && *of == was) {
                    translated.push((now, was.to_owned()));
                }
            });
            if let Cow::Owned(text) = text {
                *requirement = text;
            }
        }
        Self { requires, translated, conflicts }
    }

    /// Adds the original names to a solver's problems. A problem that contains a translated
    /// capability gets the name in the source package appended, so that readers find it there.
    pub fn explain(&self, problems: &[String]) -> Vec<String> {
        let mut problems = problems.to_vec();
        for problem in &mut problems {
            let mut there = self.translated.iter().filter(|(now, _)| problem.contains(now.as_str())).peekable();
            if there.peek().is_some() {
                let there: Vec<String> = there.map(|(now, was)| format!("{now} is {was}")).collect();
                problem.push_str(&format!(" (in the source package {})", there.join(", ")));
            }
        }
        problems
    }
}

/// The capabilities bound to an architecture that a repository provides, for [`for_arch`].
#[derive(Clone, Debug, Default)]
pub struct IsaProvides(BTreeSet<SmolStr>);

impl IsaProvides {
    /// Collects the capabilities that some package provides, in any version. Leaves out those of
    /// `arch` itself: they are never looked up. Cost: O(dependencies + provides); packages of other
    /// architectures have few.
    pub fn of(content: &RepoContent, arch: &str) -> Self {
        let own = isa(arch).unwrap_or_default();
        let foreign: Vec<bool> =
            content.dependencies().map(|d| split_isa(&d.name).is_some_and(|(_, bound)| bound != own)).collect();
        let mut names = BTreeSet::new();
        if foreign.contains(&true) {
            let provides = content.packages().iter().filter(|p| !p.is_source()).flat_map(|p| p.provides.iter());
            let foreign = provides.filter(|id| foreign.get(id.index()).copied().unwrap_or_default());
            names.extend(foreign.map(|id| content.dependency(*id).name.clone()));
        }
        Self(names)
    }

    /// Checks whether some package provides the capability. Cost: logarithmic.
    pub fn contains(&self, capability: &str) -> bool {
        self.0.contains(capability)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// If the source package was made on a known architecture, its own ISA is translated and
    /// another one stays.
    #[rstest]
    #[case::plain("libfoo-devel(x86-64)", "aarch64", "libfoo-devel(aarch-64)")]
    #[case::version("libfoo-devel(x86-64) >= 1:2.0", "s390x", "libfoo-devel(s390-64) >= 1:2.0")]
    #[case::riscv("libfoo-devel(x86-64)", "riscv64", "libfoo-devel(riscv-64)")]
    #[case::arm("libfoo-devel(x86-64)", "armv7hl", "libfoo-devel(armv7hl-32)")]
    #[case::to_32_bits("libfoo-devel(x86-64)", "i686", "libfoo-devel(x86-32)")]
    #[case::koji_name("libfoo-devel(x86-64)", "i386", "libfoo-devel(x86-32)")]
    #[case::own("libfoo-devel(x86-64)", "x86_64", "libfoo-devel(x86-64)")]
    #[case::multilib("glibc-devel(x86-32)", "x86_64", "glibc-devel(x86-32)")]
    #[case::multilib_elsewhere("glibc-devel(x86-32)", "aarch64", "glibc-devel(x86-32)")]
    #[case::not_bound("libfoo-devel", "aarch64", "libfoo-devel")]
    #[case::pkgconfig("pkgconfig(x86)", "aarch64", "pkgconfig(x86)")]
    #[case::elf_class("libz.so.1()(64bit)", "aarch64", "libz.so.1()(64bit)")]
    #[case::elf_class_and_isa("perl(:VERSION)(x86-64)", "aarch64", "perl(:VERSION)(aarch-64)")]
    #[case::inside("foo(x86-64)bar", "aarch64", "foo(x86-64)bar")]
    #[case::no_name("(x86-64)", "aarch64", "(x86-64)")]
    #[case::no_isa_there("libfoo-devel(x86-64)", "noarch", "libfoo-devel(x86-64)")]
    #[case::rich(
        "(libbar-devel(x86-64) >= 2 or libbaz-devel or glibc-devel(x86-32))",
        "aarch64",
        "(libbar-devel(aarch-64) >= 2 or libbaz-devel or glibc-devel(x86-32))"
    )]
    #[case::rich_nested(
        "((a(x86-64) with b(x86-64)<3) if (c(x86-64) and d) else e(x86-64))",
        "ppc64le",
        "((a(ppc-64) with b(x86-64)<3) if (c(ppc-64) and d) else e(ppc-64))"
    )]
    #[case::spaces("  foo(x86-64)   =  2 ", "aarch64", "  foo(aarch-64)   =  2 ")]
    #[case::unfinished("(foo(x86-64", "aarch64", "(foo(x86-64")]
    #[case::not_ascii("fööß(x86-64) ≥ (", "aarch64", "fööß(aarch-64) ≥ (")]
    fn made_on_x86_64(#[case] text: &str, #[case] arch: &str, #[case] expected: &str) {
        let nobody_asks = |_: &str| panic!("the repository does not matter");
        let result = for_arch(text, arch, Some("x86_64"), nobody_asks);
        assert_eq!(result, expected);
        assert_eq!(matches!(result, Cow::Borrowed(_)), text == expected, "borrowed when nothing changes");
    }

    /// If it was made on an unknown architecture, what the repository provides as written stays.
    #[rstest]
    #[case::translated("libfoo-devel(x86-64)", "aarch64", &["libfoo-devel(aarch-64)"], "libfoo-devel(aarch-64)")]
    #[case::multilib("glibc-devel(x86-32)", "x86_64", &["glibc-devel(x86-32)"], "glibc-devel(x86-32)")]
    #[case::neither("libfoo-devel(x86-64)", "aarch64", &[], "libfoo-devel(aarch-64)")]
    #[case::made_here("libfoo-devel(aarch-64)", "aarch64", &[], "libfoo-devel(aarch-64)")]
    #[case::each_part_for_itself(
        "(a(x86-64) or b(x86-64))", "aarch64", &["a(x86-64)"], "(a(x86-64) or b(aarch-64))"
    )]
    #[case::any_origin("libfoo-devel(s390-64) = 1", "x86_64", &[], "libfoo-devel(x86-64) = 1")]
    fn made_somewhere(#[case] text: &str, #[case] arch: &str, #[case] provided: &[&str], #[case] expected: &str) {
        assert_eq!(for_arch(text, arch, None, |name| provided.contains(&name)), expected);
        assert_eq!(
            for_arch(text, arch, Some("noarch"), |name| provided.contains(&name)),
            expected,
            "noarch says nothing"
        );
    }

    #[test]
    fn originals_are_kept_for_messages() {
        let source = ["gcc", "foo(x86-64) > 1", "make", "(foo(x86-64) or bar(x86-64))"].map(str::to_owned);
        let all = BuildRequires::literal(source.to_vec()).for_arch("aarch64", Some("x86_64"), |_| false);
        assert_eq!(all.requires, ["gcc", "foo(aarch-64) > 1", "make", "(foo(aarch-64) or bar(aarch-64))"]);
        let row = |now: &str, was: &str| (now.to_owned(), was.to_owned());
        assert_eq!(all.translated, [row("foo(aarch-64)", "foo(x86-64)"), row("bar(aarch-64)", "bar(x86-64)")]);
        let lines = all.explain(&["nothing provides foo(aarch-64) > 1".to_owned(), "nothing provides gcc".to_owned()]);
        let expected = "nothing provides foo(aarch-64) > 1 (in the source package foo(aarch-64) is foo(x86-64))";
        assert_eq!(lines, [expected, "nothing provides gcc"]);
        assert_eq!(
            BuildRequires::literal(vec!["foo(x86-64)".to_owned()]).explain(&["no foo(x86-64)".to_owned()]),
            ["no foo(x86-64)"]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Translating there and back gives the original text. Any text gets an answer.
        #[test]
        fn is_its_own_inverse(
            text in r"[(), ab<é]{0,6}(foo|\(x\)|é)?(\(x86-64\))?[(), ab>=]{0,6}(b\(x86-64\))?[ )(]{0,3}"
        ) {
            let there = for_arch(&text, "aarch64", Some("x86_64"), |_| false);
            let back = for_arch(&there, "x86_64", Some("aarch64"), |_| false).into_owned();
            prop_assert_eq!(&back, &text);
            let twice = for_arch(&there, "aarch64", Some("x86_64"), |_| false).into_owned();
            prop_assert_eq!(&twice, &there, "translating twice is translating once");
        }
    }
}
