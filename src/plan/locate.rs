//! Where a field stands in a plan file, for errors that are found after reading.

/// The line, from 1, of the field at a path like `spec.target.size` in a YAML text in block style.
///
/// None when it is not there or is written in flow style: then an error goes without its line.
pub(super) fn line_of(text: &str, path: &str) -> Option<usize> {
    let mut wanted = path.split('.');
    let mut key = wanted.next()?;
    let mut inside: Option<usize> = None;
    let mut children: Option<usize> = Some(0);
    for (number, line) in text.lines().enumerate() {
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let indent = line.len() - content.len();
        match inside {
            // Left the parent without having met the key.
            Some(parent) if indent <= parent => return None,
            _ if *children.get_or_insert(indent) != indent => continue,
            _ => {}
        }
        let Some(rest) = content.strip_prefix(key) else {
            continue;
        };
        if !rest.starts_with(':') {
            continue;
        }
        match wanted.next() {
            None => return Some(number + 1),
            Some(next) => {
                key = next;
                inside = Some(indent);
                children = None;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::line_of;

    #[test]
    fn a_field_is_found_under_its_own_parents_only() {
        let text = "metadata:\n  name: a\nspec:\n  # size: 1\n  source:\n    size: 2\n  target:\n    size: 3\n";
        assert_eq!(line_of(text, "metadata.name"), Some(2));
        assert_eq!(line_of(text, "spec.target.size"), Some(8));
        assert_eq!(line_of(text, "spec.size"), None);
        assert_eq!(line_of("spec: {size: 1}", "spec.size"), None);
    }
}
