//! Tables of architecture sets: T38, T40, T42, T66–T71, T83, T84 and the overrides.

use rstest::rstest;

use super::*;

/// The fixture of §6.9.
const TAG: &str = "aarch64 armv7hl i686 ppc64 ppc64le s390x x86_64";
const ALLOWED: &str = "i386 x86_64 armhfp";
/// What `%{arm}` expands to in a header.
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

fn set(tag: &str, header: &Header<'_>, over: &str, allowed: &str) -> ArchSet {
    let over = (!over.is_empty()).then(|| over.parse::<ArchOverride>().unwrap());
    arch_set(&ArchInputs {
        tag_arches: &names(tag),
        build_archs: &names(header.build),
        exclusive_arch: &names(header.exclusive),
        exclude_arch: &names(header.exclude),
        arch_override: over.as_ref(),
        build_arches: &names(allowed),
    })
}

#[rstest]
#[case::t66_archful(PLAIN, ALLOWED, "armv7hl i686 x86_64")]
#[case::t67_noarch(Header { build: "noarch", ..PLAIN }, ALLOWED, "noarch")]
#[case::t68_exclusive(Header { exclusive: ARM, ..PLAIN }, ALLOWED, "armv7hl")]
#[case::t69_exclude(Header { exclude: "armv7hl ppc64 ppc64le s390x aarch64", ..PLAIN }, ALLOWED, "i686 x86_64")]
#[case::t71_all_allowed(PLAIN, "aarch64 armhfp i386 ppc64 ppc64le s390x x86_64", TAG)]
#[case::empty_policy_is_all_of_the_tag(PLAIN, "", TAG)]
#[case::exclusive_with_noarch(Header { exclusive: "x86_64 noarch", ..PLAIN }, ALLOWED, "x86_64 noarch")]
#[case::noarch_excluded(Header { build: "noarch x86_64", exclude: "noarch", ..PLAIN }, ALLOWED, "x86_64")]
#[case::noarch_on_some_builders(Header { build: "noarch", exclusive: "x86_64 noarch", ..PLAIN }, ALLOWED, "noarch")]
#[case::literal_comparison(Header { exclusive: "i386", ..PLAIN }, ALLOWED, "")]
#[case::repeated(Header { build: "x86_64 x86_64", ..PLAIN }, ALLOWED, "x86_64")]
fn headers(#[case] header: Header<'_>, #[case] allowed: &str, #[case] expected: &str) {
    let got = set(TAG, &header, "", allowed);
    assert_eq!(got.arches, names(expected));
    assert_eq!(got.noarch, expected.contains("noarch"));
}

#[rstest]
#[case::replaces("x86_64 aarch64", PLAIN, "x86_64")] // aarch64 is not in the policy
#[case::replaces_in_own_order_t42("x86_64 armhfp", PLAIN, "x86_64 armhfp")]
#[case::ignores_exclusive("x86_64", Header { exclusive: "s390x", ..PLAIN }, "x86_64")]
#[case::ignores_exclude("x86_64", Header { exclude: "x86_64", ..PLAIN }, "x86_64")]
#[case::archful_in_place_of_noarch("x86_64", Header { build: "noarch", ..PLAIN }, "x86_64")]
#[case::excludes("^x86_64", PLAIN, "armv7hl i686")]
#[case::excludes_canonically("^i386", PLAIN, "armv7hl x86_64")]
#[case::caret_covers_all("^i386 armhfp", PLAIN, "x86_64")]
#[case::caret_on_each("^i386 ^armhfp", PLAIN, "x86_64")]
#[case::caret_on_later("^i386, armv7hl, ^s390x", PLAIN, "x86_64")]
#[case::excludes_noarch("^noarch", Header { build: "noarch x86_64", ..PLAIN }, "x86_64")]
fn overrides(#[case] over: &str, #[case] header: Header<'_>, #[case] expected: &str) {
    assert_eq!(set(TAG, &header, over, ALLOWED).arches, names(expected));
}

/// D7 not carried over: what leaves nothing says why.
#[rstest]
#[case::all_excluded("^x86_64 ^i686 ^armv7hl", PLAIN, "x86_64 is excluded by the override")]
#[case::not_in_tag("riscv64", PLAIN, "riscv64 is not an arch of the build tag")]
#[case::not_in_policy("s390x", PLAIN, "s390x is not in build_arches of the policy")]
#[case::header("", Header { exclusive: "ia64", ..PLAIN }, "x86_64 is not in ExclusiveArch")]
#[case::header_excludes("", Header { build: "x86_64", exclude: "x86_64", ..PLAIN }, "x86_64 is in ExcludeArch")]
fn nothing_left_says_why(#[case] over: &str, #[case] header: Header<'_>, #[case] says: &str) {
    let got = set(TAG, &header, over, ALLOWED);
    assert_eq!((got.is_empty(), got.koji_option()), (true, None));
    let why = got.why_empty().unwrap();
    assert!(why.starts_with("no architecture to build on: ") && why.contains(says), "{why}");
}

#[test]
fn tag_without_arches() {
    let got = set("", &PLAIN, "", "");
    assert_eq!(got.why_empty().unwrap(), "no architecture to build on: the build tag has none");
}

#[test]
fn dropped_keep_their_spelling() {
    let got = set("i686 x86_64 s390x", &Header { exclude: "i686", ..PLAIN }, "", "x86_64");
    let dropped: Vec<_> = got.dropped.iter().map(|d| (d.arch.as_str(), d.reason)).collect();
    assert_eq!(dropped, [("i686", DropReason::Excluded), ("s390x", DropReason::NotInPolicy)]);
    assert_eq!(got.why_empty(), None);
}

/// What is sent to Koji.
#[rstest]
#[case::t38("x86_64", PLAIN, "", Some("x86_64"))]
#[case::t40_noarch_maven(TAG, Header { build: "noarch", ..PLAIN }, "", None)]
#[case::t42(TAG, PLAIN, "x86_64 armhfp", Some("x86_64 armhfp"))]
#[case::original_spelling("i686 x86_64", PLAIN, "", Some("i686 x86_64"))]
#[case::mixed_with_noarch(TAG, Header { exclusive: "x86_64 noarch", ..PLAIN }, "", None)]
fn koji_option(#[case] tag: &str, #[case] header: Header<'_>, #[case] over: &str, #[case] sent: Option<&str>) {
    assert_eq!(set(tag, &header, over, ALLOWED).koji_option().as_deref(), sent);
}

#[rstest]
#[case::t84("^x86_64", "^x86_64")]
#[case::t83_commas("x86_64, i386", "x86_64 i386")]
#[case::normalised("  ^i686   aarch64 i686 ", "^i686 ^aarch64")]
fn override_reads_and_writes(#[case] text: &str, #[case] normal: &str) {
    let over: ArchOverride = text.parse().unwrap();
    assert_eq!(over.to_string(), normal);
    assert_eq!(normal.parse(), Ok(over.clone()));
    assert_eq!(over.check(&[]), Ok(()));
}

#[rstest]
#[case("", ArchOverrideError::Empty)]
#[case(" , ", ArchOverrideError::Empty)]
#[case("^", ArchOverrideError::NotAName("^".into()))]
#[case("^^x86_64", ArchOverrideError::NotAName("^^x86_64".into()))]
#[case("x86-64", ArchOverrideError::NotAName("x86-64".into()))]
#[case("x86_64 ^i386", ArchOverrideError::Mixed("^i386".into()))]
fn bad_overrides(#[case] text: &str, #[case] error: ArchOverrideError) {
    assert_eq!(text.parse::<ArchOverride>(), Err(error.clone()));
    assert_eq!(error.class(), Class::Rejected);
}

#[test]
fn override_is_bounded() {
    assert_eq!("a ".repeat(600).parse::<ArchOverride>(), Err(ArchOverrideError::TooLong));
    let many: String = (0..33).map(|n| format!("a{n} ")).collect();
    assert_eq!(many.parse::<ArchOverride>(), Err(ArchOverrideError::TooLong));
}

/// T84: `asdf` is refused, unless the tag really has such an arch.
#[rstest]
#[case("asdf", "", false)]
#[case("x86_64 ^asdf", "", false)]
#[case("^asdf", "", false)]
#[case("asdf", "asdf", true)]
#[case("^i686 ^x86_64_v2", "x86_64_v2", true)]
#[case("riscv64 noarch armv7hl i586", "", true)]
fn override_names_are_checked(#[case] text: &str, #[case] tag: &str, #[case] accepted: bool) {
    let result = text.parse::<ArchOverride>().and_then(|o| o.check(&names(tag)));
    assert_eq!(result.is_ok(), accepted, "{result:?}");
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
