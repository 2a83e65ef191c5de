//! Finds known names that look like an unknown one.

/// Most letters that may differ between a name and a suggestion.
pub const WRONG_MAX: usize = 2;
/// Most names suggested.
const OFFERED_MAX: usize = 5;

/// Returns known names that look like `name`, in alphabetical order. These are the names that
/// differ least: in at most [`WRONG_MAX`] letters added, left out, changed or swapped, and in fewer
/// than half of the letters. If there are none, returns the names that contain `name` or are
/// contained in it. Cost: O(known · length²).
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
    // If some names differ only by letters, drop the names that merely contain each other.
    let least = found.first().map(|(wrong, _)| *wrong);
    found.retain(|(wrong, _)| Some(*wrong) == least);
    found.truncate(OFFERED_MAX);
    found.into_iter().map(|(_, k)| k).collect()
}

/// Returns `; did you mean A or B?`, or an empty text if no name is similar.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near: Vec<String> = nearest(name, known).into_iter().map(|k| format!("`{k}`")).collect();
    match near.split_last() {
        None => String::new(),
        Some((only, [])) => format!("; did you mean {only}?"),
        Some((last, others)) => format!("; did you mean {} or {last}?", others.join(", ")),
    }
}

/// Returns how many letters must be added, left out, changed, or swapped with the next one, to turn
/// one text into the other (optimal string alignment). Texts whose lengths differ by more than
/// [`WRONG_MAX`] are not compared, so long texts cost nothing.
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
