// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Style is how lines look.
type Style struct{ Colour bool }

// SGR codes of a terminal.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	faint  = "2"
)

func (s Style) paint(code, text string) string {
	if !s.Colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s Style) mark(ok bool) string {
	if ok {
		return s.paint(green, mark(ok))
	}
	return s.paint(red, mark(ok))
}

func mark(ok bool) string {
	if ok {
		return symbolPassed.text
	}
	return symbolFailed.text
}

// Headline says in a line what became of the artifact.
func (s Style) Headline(a *Artifact) string {
	name := Terminal(a.Reference)
	if a.Digest != "" && !strings.HasSuffix(a.Reference, a.Digest) {
		name += " " + s.paint(faint, Terminal(a.Digest))
	}
	return line(fmt.Sprintf("%s %s: %s", s.mark(a.Succeeded), name, a.fate()))
}

// fate is what became of the artifact, in a few words.
func (a *Artifact) fate() string {
	var words []string
	if a.Copied != nil {
		words = append(words, "copied")
	}
	if a.Attached != nil && !a.Attached.Existed {
		words = append(words, "attached")
	}
	if a.Signed != nil {
		words = append(words, "signed")
	}
	if a.AlreadySigned != "" {
		words = append(words, "signed before")
	}
	switch a.verdict() {
	case Verified:
		words = append(words, "verified")
	case Skipped:
		words = append(words, "not verified, as the policy requires")
	}
	if a.Inspection != nil {
		words = append(words, count(len(a.Inspection.Signatures), "signature"))
	}
	if a.isTagged() {
		words = append(words, "tagged")
	}
	if !a.Succeeded {
		words = append(words, "failed")
	}
	if len(words) == 0 {
		words = append(words, "done")
	}
	return strings.Join(words, ", ")
}

// Details says in lines what the headline leaves out. Of several signatures of an
// artifact that was verified, only one is there: Others has the rest.
func (s Style) Details(a *Artifact) []string {
	return lines(s.details(a))
}

// Others has a title and lines of the signatures that Details leaves out. The title
// is empty if there are none.
func (s Style) Others(a *Artifact) (title string, _ []string) {
	if _, words := a.others(); words != "" {
		title = line(fmt.Sprintf("%s: %s", Terminal(a.Reference), words))
	}
	return title, lines(s.others(a))
}

func (s Style) others(a *Artifact) []item {
	w := &itemWriter{style: s}
	list, _ := a.others()
	for i := range list {
		w.signature(&list[i], s.paint(faint, mark(list[i].Valid)))
	}
	return w.items
}

// verifyCommand is what to paste to verify an artifact that has a signature; else it
// is empty. So it is if the reference is more than words that a shell takes as they
// are.
func (a *Artifact) verifyCommand() string {
	if a.Signed == nil && a.AlreadySigned == "" && a.verdict() != Verified {
		return ""
	}
	path, isLayout := strings.CutPrefix(a.Resolved, "oci-layout:")
	switch {
	case isLayout && plainPath.MatchString(path) && plainScope.MatchString(a.Scope):
		return "NOTATION_EXPERIMENTAL=1 notation verify --oci-layout " + path + " --scope " + a.Scope
	case !isLayout && plainReference.MatchString(a.Resolved):
		return "notation verify " + a.Resolved
	}
	return ""
}

// VerifyCommands are the commands to paste to verify the artifacts of which nothing
// failed, in the order of the report.
func (r *Report) VerifyCommands() []string {
	var commands []string
	for i := range r.Artifacts {
		if a := &r.Artifacts[i]; a.Error == "" {
			if command := a.verifyCommand(); command != "" {
				commands = append(commands, command)
			}
		}
	}
	return commands
}

var (
	plainReference = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]*@[a-z0-9]+:[0-9a-f]+$`)
	plainPath      = regexp.MustCompile(`^[A-Za-z0-9./][A-Za-z0-9._/-]*@[a-z0-9]+:[0-9a-f]+$`)
	plainScope     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]*$`)
)

func (s Style) details(a *Artifact) []item {
	w := &itemWriter{style: s}
	if a.Error != "" {
		w.add(0, "%s %s", s.paint(red, "error:"), Terminal(a.Error))
	}
	for _, warning := range a.Warnings {
		w.add(0, "%s %s", s.paint(yellow, "warning:"), Terminal(warning))
	}
	if a.Index != "" {
		w.add(0, "in the index %s", Terminal(a.Index))
	}
	w.copied(a)
	if a.Signed != nil {
		w.signed(a.Signed)
		if a.Verification == nil { // else they are shown there
			w.certificates(1, a.Signed.Certificates)
		}
	}
	if a.AlreadySigned != "" {
		w.add(0, "has the signature %s by this key", Terminal(a.AlreadySigned))
	}
	if command := a.verifyCommand(); command != "" {
		w.add(0, "to verify: %s", Terminal(command))
	}
	if a.Verification != nil {
		w.verification(a)
	}
	w.required(a.Required)
	if i := a.Inspection; i != nil {
		for j := range i.Signatures {
			w.signature(&i.Signatures[j], s.mark(i.Signatures[j].Valid))
		}
		w.more(i.More)
	}
	w.tags(a.Tags)
	return w.items
}

// Close says in lines how the run ended.
func (s Style) Close(r *Report) []string {
	w := &itemWriter{style: s}
	for _, text := range r.Errors {
		w.add(0, "%s %s", s.paint(red, "error:"), Terminal(text))
	}
	for _, text := range r.Warnings {
		w.add(0, "%s %s", s.paint(yellow, "warning:"), Terminal(text))
	}
	w.add(0, "%s %s in %s", s.mark(r.Succeeded), r.Conclusion(), r.Finished.Sub(r.Started).Round(10*time.Millisecond))
	return lines(w.items)
}

// Conclusion says in a sentence how the run ended.
func (r *Report) Conclusion() string {
	n := r.Count()
	words := []string{count(n.Artifacts, "artifact")}
	for _, part := range []struct {
		n    int
		verb string
	}{
		{n.Copied, "copied"}, {n.Signed, "signed"}, {n.AlreadySigned, "signed before"},
		{n.Verified, "verified"}, {n.Skipped, "not verified, as the policy requires"}, {n.Tagged, "tagged"}, {n.Failed, "failed"},
	} {
		if part.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", part.n, part.verb))
		}
	}
	return strings.Join(words, ", ")
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// item is a line of a list in a list. How deep it is must not be read off its
// text, which can be foreign from its first character on.
type item struct {
	depth int
	text  string
}

func lines(items []item) []string {
	list := make([]string, len(items))
	for i, item := range items {
		list[i] = line(strings.Repeat("  ", item.depth) + item.text)
	}
	return list
}

// itemWriter collects items. What it is given is made of texts of its own and of
// those that went through Terminal.
type itemWriter struct {
	style Style
	items []item
}

func (w *itemWriter) add(depth int, format string, args ...any) {
	w.items = append(w.items, item{depth, fmt.Sprintf(format, args...)})
}

func (w *itemWriter) signed(s *Signed) {
	w.add(0, "added the signature %s (%s)", Terminal(s.Digest), Terminal(s.Format))
	if s.IndexTag != "" {
		w.add(1, "listed in the referrers index %s", Terminal(s.IndexTag))
	} else {
		w.add(1, "listed as a referrer of the artifact")
	}
	if s.Timestamp != nil {
		w.add(1, "timestamp %s", Terminal(s.Timestamp.text()))
	}
	w.validity(s.Validity)
}

func (w *itemWriter) validity(v Validity) {
	if text := v.text(); text != "" {
		w.add(1, "%s", Terminal(text))
	}
}

// text is empty if nothing is known.
func (v Validity) text() string {
	switch {
	case v.ValidUntil != nil:
		return fmt.Sprintf("verifies until %s: %s", instant(v.ValidUntil), v.ValidUntilReason)
	case v.ValidUntilReason != "":
		return "verifies on: " + v.ValidUntilReason
	default:
		return ""
	}
}

func (w *itemWriter) certificates(depth int, chain []Certificate) {
	if len(chain) == 0 {
		return
	}
	leaf := chain[0]
	w.add(depth, "certificate of %s", Terminal(leaf.Subject))
	w.add(depth+1, "valid from %s to %s, SHA-256 %s", day(leaf.NotBefore), day(leaf.NotAfter), Terminal(leaf.Thumbprint))
	if root := chain[len(chain)-1]; len(chain) > 1 {
		w.add(depth+1, "root %s", Terminal(root.Subject))
	}
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// verification shows how an artifact was judged, by its leading signature.
func (w *itemWriter) verification(a *Artifact) {
	v := a.Verification
	if st := v.Statement; st != nil {
		w.add(0, "trust policy statement %s (level %s) applies: %s", Terminal(st.Name), Terminal(st.Level), Terminal(st.Reason))
	}
	for _, scope := range v.Unmatched {
		w.add(0, "scope %s of the statement %s %s", Terminal(scope.Scope), Terminal(scope.Statement), Terminal(scope.Reason))
	}
	if lead := a.leading(); lead >= 0 {
		w.signature(&v.Signatures[lead], w.style.mark(v.Signatures[lead].Valid))
	}
	if _, words := a.others(); words != "" {
		w.add(0, "%s", words)
	}
	w.more(v.More)
}

func (w *itemWriter) more(more bool) {
	if more {
		w.add(0, "there are more signatures than max_signatures; they were not looked at")
	}
}

func (w *itemWriter) signature(s *Signature, mark string) {
	w.add(0, "%s signature %s", mark, Terminal(s.Digest))
	w.validity(s.Validity)
	if s.Error != "" && len(s.Checks) == 0 {
		w.add(1, "%s", Terminal(s.Error)) // else the checks say so
	}
	for i := range s.Checks {
		w.check(&s.Checks[i])
	}
	for _, fact := range s.facts() {
		w.add(1, "%s: %s", fact.name, Terminal(fact.value))
	}
	w.certificates(1, s.Certificates)
	for _, r := range s.Revocation {
		w.add(1, "revocation of %s: %s", Terminal(r.Subject), Terminal(r.Result))
		for _, server := range r.Servers {
			if server.Error != "" {
				w.add(2, "%s: %s", Terminal(server.URL), Terminal(server.Error))
			}
		}
	}
}

func (w *itemWriter) check(c *Check) {
	w.add(1, "%s %s: %s", c.symbol().text, Terminal(c.Name), Terminal(c.Reason))
	if c.Remedy != "" {
		w.add(2, "%s", Terminal(c.Remedy))
	}
}

// fact is something that a signature says.
type fact struct{ name, value string }

func (s *Signature) facts() []fact {
	var list []fact
	add := func(name, value string) {
		if value != "" {
			list = append(list, fact{name, value})
		}
	}
	add("envelope", strings.Trim(s.Format+", "+s.Algorithm, ", "))
	add("signing scheme", s.Scheme)
	add("signing agent", s.Agent)
	add("verification plugin", s.Plugin)
	add("signing time", instant(s.SigningTime))
	add("expiry", instant(s.Expiry))
	if s.Timestamp != nil {
		add("timestamp", s.Timestamp.text())
	}
	for _, key := range sortedKeys(s.UserMetadata) {
		add("user metadata", key+"="+s.UserMetadata[key])
	}
	if s.TrustedBy != nil {
		add("trusted by", s.TrustedBy.Certificate.Subject+" in "+s.TrustedBy.Store)
	}
	return list
}

func (t *Timestamp) text() string {
	if t.Error != "" {
		return "unreadable: " + t.Error
	}
	return fmt.Sprintf("%s by %s", instant(t.Time), t.Authority)
}

func instant(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
