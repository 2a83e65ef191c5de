//! Tests which architectures are sent: T38, T40, T42, T66-T71, T83, T84 and the overrides.

use rstest::rstest;

use super::*;
use crate::event::CollectionSettings;
use crate::fold::ArchVerdict;
use crate::model::Hub;

/// The fixture of §6.9.
const TAG: &str = "aarch64 armv7hl i686 ppc64 ppc64le s390x x86_64";
const ALLOWED: &str = "i386 x86_64 armhfp";
/// Expansion of `%{arm}` in a header.
const ARM: &str = "armv3l armv4b armv4l armv4tl armv5tel armv5tejl armv6l armv6hl armv7l armv7hl armv7hnl";

fn names(text: &str) -> Vec<Name> {
    text.split_whitespace().map(Name::from).collect()
}

struct Header<'a> {
    build: &'a str,
    exclusive: &'a str,
    exclude: &'a str,
}

const PLAIN: Header<'_> = Header { build: "", exclusive: "", exclude: "" };

/// Makes a collection. Its settings allow the architectures `allowed`, and its build tag has `tag`.
fn collection(tag: &str, allowed: &str) -> Collection {
    let mut collection = Collection::new(CollectionSettings {
        display_name: String::new(),
        hub: Hub::new("primary"),
        target: "f99".into(),
        build_tag: "f99-build".into(),
        dest_tag: "f99".into(),
        build_group: "build".into(),
        coefficient: 1000,
        arches: names(allowed),
        track_all: true,
        max_builds: None,
        found: false,
        builds_on: None,
    });
    collection.tag_arches = names(tag);
    collection
}

/// Makes a package that was resolved on the architectures of `tag`, as far as its header allows.
fn package(tag: &str, header: &Header<'_>, over: &str) -> Package {
    let (build, exclusive, exclude) = (names(header.build), names(header.exclusive), names(header.exclude));
    let mut families: Vec<&str> = tag.split_whitespace().map(canonical).collect();
    families.sort_unstable();
    families.dedup();
    let verdict = |family: &str| ArchVerdict {
        arch: family.into(),
        source: "1-1".into(),
        buildroot_has: None,
        noarch: build.iter().any(|a| a == NOARCH),
        ok: not_built_on(crate::model::arch::of_packages(family), &build, &exclusive, &exclude)
            .is_none()
            .then_some(true),
        problem: None,
        explained: None,
        good: None,
        causes: Vec::new(),
        changes: Box::default(),
        base: None,
        truth: false,
    };
    Package {
        arch_override: (!over.is_empty()).then(|| Box::new(over.parse().unwrap())),
        verdicts: families.into_iter().map(verdict).collect(),
        ..Package::default()
    }
}

fn sent(tag: &str, header: &Header<'_>, over: &str, allowed: &str) -> (String, bool) {
    let (arches, noarch) = build_arches(&collection(tag, allowed), &package(tag, header, over));
    (arches.join(" "), noarch)
}

#[rstest]
#[case::t66_archful(PLAIN, ALLOWED, "armv7hl i686 x86_64")]
#[case::t68_exclusive(Header { exclusive: ARM, ..PLAIN }, ALLOWED, "armv7hl")]
#[case::t69_exclude(Header { exclude: "armv7hl ppc64 ppc64le s390x aarch64", ..PLAIN }, ALLOWED, "i686 x86_64")]
#[case::t71_all_allowed(PLAIN, "aarch64 armhfp i386 ppc64 ppc64le s390x x86_64", TAG)]
#[case::no_limit_is_all_of_the_tag(PLAIN, "", TAG)]
#[case::literal_comparison(Header { exclusive: "i386", ..PLAIN }, ALLOWED, "")]
#[case::repeated(Header { build: "x86_64 x86_64", ..PLAIN }, ALLOWED, "x86_64")]
fn headers(#[case] header: Header<'_>, #[case] allowed: &str, #[case] expected: &str) {
    assert_eq!(sent(TAG, &header, "", allowed), (expected.to_owned(), false));
}

#[rstest]
#[case::replaces("x86_64 aarch64", PLAIN, "x86_64")] // aarch64 is not allowed
#[case::t42("x86_64 armhfp", PLAIN, "armv7hl x86_64")]
#[case::canonical_as_the_tag_has_it("i386", PLAIN, "i686")]
#[case::as_the_tag_has_it("i686 x86_64", PLAIN, "i686 x86_64")]
#[case::another_of_the_family("i586", PLAIN, "i686")]
#[case::excludes("^x86_64", PLAIN, "armv7hl i686")]
#[case::excludes_by_family("^i386", PLAIN, "armv7hl x86_64")]
#[case::caret_covers_all("^i386 armhfp", PLAIN, "x86_64")]
#[case::caret_on_each("^i386 ^armhfp", PLAIN, "x86_64")]
#[case::caret_on_later("^i386, armv7hl, ^s390x", PLAIN, "x86_64")]
#[case::stays_out("x86_64", Header { exclude: "x86_64", ..PLAIN }, "")]
#[case::nothing_left("^x86_64 i686 armv7hl", PLAIN, "")]
#[case::not_in_the_tag("riscv64", PLAIN, "")]
#[case::not_allowed("s390x", PLAIN, "")]
fn overrides(#[case] over: &str, #[case] header: Header<'_>, #[case] expected: &str) {
    assert_eq!(sent(TAG, &header, over, ALLOWED), (expected.to_owned(), false));
}

/// Any builder makes a noarch package, unless an override says which ones.
#[rstest]
#[case::t40_t67("", true)]
#[case::exclusion("^x86_64", true)]
#[case::any_builder("noarch", true)]
#[case::archful_in_place_of_noarch("x86_64", false)]
#[case::excludes_noarch("^noarch i686 armv7hl", false)]
fn noarch(#[case] over: &str, #[case] stays: bool) {
    let (arches, noarch) = sent(TAG, &Header { build: "noarch", ..PLAIN }, over, ALLOWED);
    assert_eq!(noarch, stays);
    assert!(stays || arches == "x86_64", "{arches}");
}

/// Architectures are spelled as in the tag, whatever repositories and people call them.
#[rstest]
#[case("i386 x86_64", "", "i386 x86_64")]
#[case("i586 x86_64", "i686", "i586")]
#[case("armv7hnl aarch64", "armv7hl", "armv7hnl")]
#[case::two_of_a_family("i586 i686 x86_64", "", "i586 i686 x86_64")]
#[case::one_of_them("i586 i686 x86_64", "i686", "i686")]
#[case::both_of_them("i586 i686 x86_64", "i386", "i586 i686")]
#[case::neither("i586 i686 x86_64", "^i686", "x86_64")]
#[case("ppc64p7 ppc64le", "", "ppc64p7 ppc64le")]
fn spelled_as_the_tag_has_it(#[case] tag: &str, #[case] over: &str, #[case] expected: &str) {
    assert_eq!(
        sent(tag, &PLAIN, over, "").0.split(' ').collect::<std::collections::BTreeSet<_>>(),
        names(expected).iter().map(Name::as_str).collect()
    );
}

/// While the tag is unknown, packages show how architectures are spelled. Otherwise the usual
/// spelling is used.
#[test]
fn without_a_tag() {
    let mut c = collection("", "");
    let p = package("i686 armv7hl x86_64", &PLAIN, "");
    assert_eq!(build_arches(&c, &p).0, names("armv7hl i686 x86_64"));
    let of_packages = |name: &str| crate::fold::ArchResolution {
        repo_id: None,
        attachment: None,
        content: None,
        tracked: None,
        group_ok: None,
        group_repo: None,
        problems: Vec::new(),
        explained: None,
        causes: Vec::new(),
        group_good: None,
        examined: false,
        corrected: Vec::new(),
        of_packages: Some(name.into()),
    };
    c.arches.insert("i386".into(), of_packages("i586"));
    assert_eq!(build_arches(&c, &p).0, names("armv7hl i586 x86_64"));
    c.tag_arches = names("x86_64 i686");
    assert_eq!(build_arches(&c, &p).0, names("i686 x86_64"), "and a tag that lost one does not build for it");
}

/// A package that was never resolved: an override selects from the known architectures. Without
/// one, Koji decides.
#[test]
fn never_resolved() {
    let c = collection("i686 x86_64 s390x", "");
    let with = |over: &str| Package { verdicts: Vec::new(), ..package("x86_64", &PLAIN, over) };
    assert_eq!(build_arches(&c, &with("")), (Vec::new(), false));
    assert_eq!(build_arches(&c, &with("i386 x86_64 aarch64")), (names("i686 x86_64"), false));
    assert_eq!(build_arches(&c, &with("^s390x i686")), (names("x86_64"), false));
}

#[rstest]
#[case("i386", "i386")]
#[case("i586", "i386")]
#[case("i686", "i386")]
#[case("athlon", "i386")]
#[case("ia32e", "x86_64")]
#[case("x86_64", "x86_64")]
#[case("ppc64le", "ppc64le")]
#[case("ppc64p7", "ppc64")]
#[case("ppc64", "ppc64")]
#[case("ppc", "ppc")]
#[case("sparc64v", "sparc64")]
#[case("sparcv9", "sparc")]
#[case("alphaev6", "alpha")]
#[case("armv7hl", "armhfp")]
#[case("armhfp", "armhfp")]
#[case("armv5tel", "arm")]
#[case("aarch64", "aarch64")]
#[case("noarch", "noarch")]
#[case("", "")]
fn canonical_names(#[case] arch: &str, #[case] expected: &str) {
    assert_eq!(canonical(arch), expected);
}

#[rstest]
#[case::no_limits("x86_64", &[], &[], &[], None)]
#[case::t68_exclusive("x86_64", &[], &["armv7hl"], &[], Some(DropReason::NotExclusive))]
#[case::t68_exclusive_here("armv7hl", &[], &["armv7hl"], &[], None)]
#[case::t69_excluded("s390x", &[], &[], &["aarch64", "s390x"], Some(DropReason::Excluded))]
#[case::t69_excluded_elsewhere("x86_64", &[], &[], &["aarch64", "s390x"], None)]
#[case::t67_noarch("aarch64", &["noarch"], &[], &[], None)]
#[case::noarch_where_allowed("s390x", &["noarch"], &["x86_64", "noarch"], &[], Some(DropReason::NotExclusive))]
#[case::noarch_is_no_limit("s390x", &[], &["noarch"], &[], None)]
#[case::noarch_excluded("s390x", &["noarch"], &[], &["s390x"], Some(DropReason::Excluded))]
#[case::build_arch("aarch64", &["x86_64"], &[], &[], Some(DropReason::NotBuildArch))]
#[case::build_arch_here("x86_64", &["x86_64"], &[], &[], None)]
#[case::both("x86_64", &[], &["x86_64"], &["x86_64"], Some(DropReason::Excluded))]
#[case::literally("i686", &[], &["i386"], &[], Some(DropReason::NotExclusive))]
fn by_the_header_alone(
    #[case] arch: &str,
    #[case] build: &[&str],
    #[case] exclusive: &[&str],
    #[case] exclude: &[&str],
    #[case] expected: Option<DropReason>,
) {
    let list = |names: &[&str]| names.iter().map(Name::new).collect::<Vec<_>>();
    assert_eq!(not_built_on(arch, &list(build), &list(exclusive), &list(exclude)), expected);
}
