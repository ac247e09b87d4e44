//! Where to propose a change to a file.

use std::fmt::Write as _;

use url::Url;

use super::settings::Settings;

/// The page on which a change to a file is proposed; none where the host's pages are not known. `path` is from the
/// repository's root.
pub fn edit_url(settings: &Settings, commit: &str, path: &str) -> Option<String> {
    let branch = settings.reference.short();
    if !settings.web_edit_url.is_empty() {
        return Some(
            settings
                .web_edit_url
                .replace("{commit}", &encoded(commit))
                .replace("{branch}", &encoded(branch))
                .replace("{path}", &encoded(path)),
        );
    }
    // What a tag names is not edited.
    if !settings.reference.name.starts_with("refs/heads/") {
        return None;
    }
    let url = Url::parse(&settings.url).ok()?;
    let host = url.host_str()?;
    let origin = match url.scheme() {
        "https" | "http" => url.origin().ascii_serialization(),
        // Some hosts take ssh under a name of its own, for networks that let through port 443 only.
        "ssh" => {
            let pages = ["ssh.", "altssh."].iter().find_map(|label| host.strip_prefix(label));
            format!("https://{}", pages.unwrap_or(host))
        }
        _ => return None,
    };
    let page = page_of(host)?;
    let repository = url.path().trim_matches('/');
    let repository = repository.strip_suffix(".git").unwrap_or(repository);
    Some(format!(
        "{origin}/{repository}{page}{}/{}",
        encoded(branch),
        encoded(path)
    ))
}

/// What stands between the repository and the branch on the hosts whose name says what they run.
fn page_of(host: &str) -> Option<&'static str> {
    let named = |name: &str| host.split('.').any(|label| label == name);
    if named("github") {
        Some("/edit/")
    } else if named("gitlab") {
        Some("/-/edit/")
    } else if named("gitea") || named("forgejo") || named("codeberg") {
        Some("/_edit/")
    } else {
        None
    }
}

/// Percent-encodes everything but what a path may hold unencoded; slashes stay.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::UrlRules;
    use crate::source::resource::PolicySourceSpec;
    use crate::source::settings::SettingsError;

    fn of(url: &str, template: &str, path: &str) -> Result<Option<String>, SettingsError> {
        let mut spec = PolicySourceSpec {
            web_edit_url: template.to_owned(),
            max_removals: "20%".to_owned(),
            stale_after: "10m".to_owned(),
            ..PolicySourceSpec::default()
        };
        spec.git.url = url.to_owned();
        spec.git.interval = "30s".to_owned();
        Ok(edit_url(
            &Settings::from_spec(&spec, &UrlRules::default().with_files(true))?,
            "3f2a91c",
            path,
        ))
    }

    #[test]
    fn hosts_that_say_what_they_run_have_a_page() -> Result<(), SettingsError> {
        let page = |url| of(url, "", "a/b.yaml").map(Option::unwrap_or_default);
        assert_eq!(
            page("https://github.com/acme/policies.git")?,
            "https://github.com/acme/policies/edit/main/a/b.yaml"
        );
        assert_eq!(
            page("https://gitlab.example.com:8443/acme/net/policies")?,
            "https://gitlab.example.com:8443/acme/net/policies/-/edit/main/a/b.yaml"
        );
        assert_eq!(
            page("https://codeberg.org/acme/policies/")?,
            "https://codeberg.org/acme/policies/_edit/main/a/b.yaml"
        );
        assert_eq!(
            page("ssh://git@ssh.github.com:443/acme/policies.git")?,
            "https://github.com/acme/policies/edit/main/a/b.yaml"
        );
        assert_eq!(page("https://git.example.com/acme/policies.git")?, "");
        assert_eq!(page("https://notgithub.com/acme/policies.git")?, "");
        assert_eq!(page("file:///srv/github/policies.git")?, "");
        Ok(())
    }

    #[test]
    fn a_template_wins_and_nothing_in_a_path_breaks_out_of_the_url() -> Result<(), SettingsError> {
        let template = "https://git.example.com/acme/policies/edit/{branch}/{path}?at={commit}";
        assert_eq!(
            of("https://github.com/acme/policies", template, "a b/ä?#.yaml")?.as_deref(),
            Some("https://git.example.com/acme/policies/edit/main/a%20b/%C3%A4%3F%23.yaml?at=3f2a91c")
        );
        Ok(())
    }
}
