//! Names that look like one that is not known.

/// Most letters that may be wrong in a name for which another is offered.
pub const WRONG_MAX: usize = 2;
/// Names offered at most.
const OFFERED_MAX: usize = 5;

/// Known names that look like one that is not, by name: those that differ least, in at most [`WRONG_MAX`] letters
/// added, left out, changed or swapped, and fewer than half of it; else those that contain it or are contained in it.
/// Cost: O(known · length²).
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let lower = name.to_lowercase();
    let mut found: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|k| {
            let other = k.to_lowercase();
            let wrong = distance(&lower, &other);
            let alike = !name.is_empty() && (other.contains(&lower) || lower.contains(&other));
            match wrong <= WRONG_MAX && 2 * wrong < lower.len() {
                true => Some((wrong, k)),
                false => alike.then_some((usize::MAX, k)),
            }
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    // Where some differ by letters only, the others are not meant.
    let least = found.first().map(|(wrong, _)| *wrong);
    found.retain(|(wrong, _)| Some(*wrong) == least);
    found.truncate(OFFERED_MAX);
    found.into_iter().map(|(_, k)| k).collect()
}

/// `; did you mean A or B?`, or nothing where no name is like it.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near: Vec<String> = nearest(name, known).into_iter().map(|k| format!("`{k}`")).collect();
    match near.split_last() {
        None => String::new(),
        Some((only, [])) => format!("; did you mean {only}?"),
        Some((last, others)) => format!("; did you mean {} or {last}?", others.join(", ")),
    }
}

/// How many letters must be added, left out, changed, or swapped with the next, to come from one text to the other
/// (optimal string alignment). More than [`WRONG_MAX`] in length is not looked at, so that long texts cost nothing.
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > WRONG_MAX {
        return usize::MAX;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("crul", "; did you mean `curl`?")]
    #[case("Curl", "; did you mean `curl`?")]
    #[case("url", "; did you mean `curl`?")]
    #[case("curlib", "; did you mean `curl` or `curlew`?")]
    #[case("rle", "; did you mean `curlew`?")]
    #[case("libcurl-devel", "; did you mean `curl` or `libcurl`?")]
    #[case("zilb", "; did you mean `zlib`?")]
    #[case("python", "; did you mean `python3`?")]
    #[case("zz", "")]
    #[case("", "")]
    fn names_like_it(#[case] name: &str, #[case] expected: &str) {
        let known = ["curl", "curlew", "libcurl", "zlib", "python3"];
        assert_eq!(did_you_mean(name, known), expected);
    }
}
