// SPDX-License-Identifier: Apache-2.0

package registryfaults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Fault is one thing that can happen to a request.
type Fault struct {
	Name string
	// Text says what happens, as a clause.
	Text string
	// On are the classes of requests that it can happen to.
	On []Class
	// Status is what the client is answered; 0: it gets no answer, or the
	// registry's own.
	Status int
	// Hangs says that the client waits until it gives up.
	Hangs bool
	// Do happens to a request. It sends the answer, if there is one.
	Do func(*Exchange)
}

// Classes that faults make sense on.
var (
	everywhere  = []Class{GetToken, HeadManifest, GetManifest, PutManifest, GetIndex, PutIndex, DeleteIndex, GetReferrers, HeadBlob, GetBlob, PostUpload, PatchUpload, PutUpload}
	withToken   = everywhere[1:]
	oneByOne    = []Class{HeadManifest, PutManifest, GetIndex, PutIndex, GetReferrers, GetBlob} // no other request at the same time, nor later
	answersBody = []Class{GetToken, GetManifest, GetIndex, GetReferrers, GetBlob}
	writes      = []Class{PutManifest, PutIndex, DeleteIndex, PostUpload, PatchUpload, PutUpload}
	hasDigest   = []Class{HeadManifest, GetManifest, GetIndex, GetBlob, HeadBlob}
	hasType     = []Class{HeadManifest, GetManifest, GetIndex, GetReferrers}
)

// Faults is the table of all faults, in the order in which they are documented.
var Faults = []Fault{
	{"401", "the registry requires another token, and accepts the request with it", withToken, 401, false,
		func(x *Exchange) { x.Send(x.proxy.challenge()) }},
	{"expired tokens", "all tokens have expired, and new ones are available", withToken, 401, false,
		func(x *Exchange) { x.proxy.revoke(manyUses); x.Send(x.proxy.challenge()) }},
	{"short-lived tokens", "from now on, a token is valid for one request only", oneByOne, 401, false,
		func(x *Exchange) { x.proxy.revoke(1); x.Send(x.proxy.challenge()) }},
	{"400", "the registry refuses the tag as immutable", []Class{PutIndex}, 400, false, refuse(400)},
	{"412", "the same, with another status", []Class{PutIndex}, 412, false, refuse(412)},
	{"403", "the registry refuses the request as forbidden", everywhere, 403, false, refuse(403)},
	{"404", "a gateway answers 404 with a web page", everywhere, 404, false, page(404)},
	{"409", "the registry reports a conflict", everywhere, 409, false, refuse(409)},
	{"413", "a gateway refuses the request as too large", everywhere, 413, false, page(413)},
	{"429", "the registry reports too many requests, without a Retry-After", everywhere, 429, false, refuse(429)},
	{"429, seconds", "the same, with a Retry-After of one second", everywhere, 429, false, busy(func() string { return "1" })},
	{"429, date", "the same, with a Retry-After that is a date, two seconds from now", everywhere, 429, false,
		busy(func() string { return time.Now().Add(2 * time.Second).UTC().Format(http.TimeFormat) })},
	{"429, an hour", "the same, with a Retry-After of an hour", everywhere, 429, false, busy(func() string { return "3600" })},
	{"500", "the registry has an internal error", everywhere, 500, false, refuse(500)},
	{"502", "a gateway can't reach the registry, and answers with a web page", everywhere, 502, false, page(502)},
	{"503", "the registry is not available", everywhere, 503, false, refuse(503)},

	{"reset before", "the connection is reset, and the request is not executed", everywhere, 0, false,
		func(x *Exchange) { x.drop(true) }},
	{"reset after", "the request is executed, and the connection is reset before the answer", writes, 0, false,
		func(x *Exchange) { x.Forward(); x.drop(true) }},
	{"closed before", "the connection is closed, and the request is not executed", everywhere, 0, false,
		func(x *Exchange) { x.drop(false) }},
	{"closed after", "the request is executed, and the connection is closed before the answer", writes, 0, false,
		func(x *Exchange) { x.Forward(); x.drop(false) }},
	{"504 after", "the request is executed, and a gateway times out before the answer", writes, 504, false,
		func(x *Exchange) { x.Forward(); page(504)(x) }},
	{"hang before", "there is no answer, and the request is not executed", everywhere, 0, true,
		func(x *Exchange) { x.Wait() }},
	{"hang after", "the request is executed, and there is no answer", writes, 0, true,
		func(x *Exchange) { x.Forward(); x.Wait() }},
	{"half an answer", "the answer breaks off in the middle", answersBody, 0, false, half},
	{"slow answer", "the answer comes in small pieces with pauses", answersBody, 0, false, slow},
	{"endless drip", "the answer comes byte by byte and does not end", answersBody, 0, true, drip},
	{"flood", "the answer is fast and does not end", answersBody, 0, false, flood(200)},
	{"500, flood", "the registry reports an internal error, with an endless text", everywhere, 500, false, flood(500)},
	{"huge headers", "the answer has two megabytes of headers", everywhere, 0, false,
		altered(func(a *Answer) { a.Header.Set("X-Huge", strings.Repeat("x", 2<<20)) })},

	{"altered", "one byte of the answer is changed", answersBody, 0, false, altered(flip)},
	{"longer", "the answer has one byte more than it should", answersBody, 0, false,
		altered(func(a *Answer) { a.Body = append(bytes.Clone(a.Body), ' ') })},
	{"wrong digest", "the header Docker-Content-Digest contains another digest", hasDigest, 0, false,
		altered(func(a *Answer) { a.Header.Set("Docker-Content-Digest", "sha256:"+strings.Repeat("5", 64)) })},
	{"wrong type", "the header Content-Type has another value", hasType, 0, false, altered(mistype)},
	{"no type", "the header Content-Type is missing", hasType, 0, false,
		altered(func(a *Answer) { a.Header["Content-Type"] = nil })},
	{"parameter", "the header Content-Type has a parameter", hasType, 0, false,
		altered(func(a *Answer) { a.Header.Set("Content-Type", a.Header.Get("Content-Type")+"; charset=utf-8") })},
	{"empty list", "the list of referrers is empty", []Class{GetReferrers}, 200, false,
		func(x *Exchange) {
			x.Send(Answer{200, http.Header{"Content-Type": {ocispec.MediaTypeImageIndex}}, []byte(`{"schemaVersion":2,"manifests":[]}`)})
		}},
	{"empty answer", "the answer is 200 and empty", everywhere, 200, false,
		func(x *Exchange) { x.Send(Answer{Status: 200, Header: http.Header{}}) }},
	{"garbage", "the content of the answer is not JSON", answersBody, 0, false,
		altered(func(a *Answer) { become(a, `{"schemaVersion":2,"manifests":[{"dig`) })},
	{"empty JSON", "the same, and the content is {}", answersBody, 0, false, altered(func(a *Answer) { become(a, `{}`) })},

	{"redirect elsewhere", "the client is redirected to another host, which requests credentials", everywhere, 307, false,
		func(x *Exchange) { x.redirect("http://" + x.proxy.elsewhere.host + x.Request.URL.RequestURI()) }},
	{"redirect loop", "the client is redirected to the same address", everywhere, 307, false,
		func(x *Exchange) { x.redirect("http://" + x.proxy.Host + x.Request.URL.RequestURI()) }},
	{"upload elsewhere", "the upload is redirected to another host, which requests credentials", []Class{PostUpload}, 0, false,
		func(x *Exchange) {
			x.Request.URL.RawQuery, x.body = "", nil // a registry that takes no blob with this request
			answer := x.Forward()
			answer.Header.Set("Location", "http://"+x.proxy.elsewhere.host+"/v2/app/blobs/uploads/1")
			x.Send(answer)
		}},

	{"another writer between", "another client adds an entry between the run's read and its write", []Class{PutIndex}, 0, false,
		func(x *Exchange) { x.addEntry(); x.Send(x.Forward()) }},
	{"another writer before", "another client adds an entry before the run's read", []Class{GetIndex}, 0, false,
		func(x *Exchange) { x.addEntry(); x.Send(x.Forward()) }},
	{"a careless writer", "another client writes the index as it was before the run", []Class{GetIndex, PutIndex}, 0, false,
		func(x *Exchange) { x.restoreIndex(); x.Send(x.Forward()) }},
}

// Happens reports whether the fault can happen to a class of requests.
func (f Fault) Happens(on Class) bool { return slices.Contains(f.On, on) }

// refuse refuses as a registry does.
func refuse(status int) func(*Exchange) {
	return func(x *Exchange) { x.Send(failure(status, "as the test says")) }
}

// page refuses as a gateway does, which knows nothing of registries.
func page(status int) func(*Exchange) {
	return func(x *Exchange) {
		x.Send(Answer{status, http.Header{"Content-Type": {"text/html"}}, fmt.Appendf(nil, "<html><h1>%d</h1></html>", status)})
	}
}

func busy(after func() string) func(*Exchange) {
	return func(x *Exchange) {
		answer := failure(http.StatusTooManyRequests, "as the test says")
		answer.Header.Set("Retry-After", after())
		x.Send(answer)
	}
}

// altered sends the registry's answer after a change.
func altered(change func(*Answer)) func(*Exchange) {
	return func(x *Exchange) {
		answer := x.Forward()
		change(&answer)
		x.Send(answer)
	}
}

// become makes an answer a good one with another content. That there was nothing
// is not known any more.
func become(a *Answer, content string) {
	if a.Status == http.StatusNotFound {
		a.Status = http.StatusOK
		a.Header = http.Header{"Content-Type": {ocispec.MediaTypeImageIndex}}
	}
	a.Header.Del("Docker-Content-Digest")
	a.Header.Del("ETag")
	a.Body = []byte(content)
}

// flip changes a digit of a digest in a JSON text, so that it still is one; in
// anything else, the byte in the middle.
func flip(a *Answer) {
	a.Body = bytes.Clone(a.Body)
	at := len(a.Body) / 2
	if i := bytes.LastIndex(a.Body, []byte("sha256:")); i >= 0 {
		at = i + len("sha256:")
	}
	if at >= len(a.Body) {
		return
	}
	if a.Body[at] == '0' {
		a.Body[at] = '1'
	} else {
		a.Body[at] = '0'
	}
}

// mistype calls a manifest an index, and anything else a manifest.
func mistype(a *Answer) {
	wrong := ocispec.MediaTypeImageManifest
	if a.Header.Get("Content-Type") == wrong {
		wrong = ocispec.MediaTypeImageIndex
	}
	a.Header.Set("Content-Type", wrong)
}

func half(x *Exchange) {
	answer := x.Forward()
	x.head(answer)
	x.writer.Write(answer.Body[:len(answer.Body)/2])
	panic(http.ErrAbortHandler) // closes the connection
}

func slow(x *Exchange) {
	answer := x.Forward()
	x.head(answer)
	for piece := range slices.Chunk(answer.Body, max(len(answer.Body)/8, 1)) {
		x.writer.Write(piece)
		http.NewResponseController(x.writer).Flush()
		time.Sleep(20 * time.Millisecond)
	}
}

func drip(x *Exchange) {
	answer := x.Forward()
	x.header(answer)
	x.writer.WriteHeader(answer.Status)
	x.pour([]byte(" "), 100*time.Millisecond)
}

func flood(status int) func(*Exchange) {
	return func(x *Exchange) {
		answer := failure(status, "")
		if status == http.StatusOK {
			answer = x.Forward()
		}
		x.header(answer)
		x.writer.WriteHeader(status)
		x.pour(bytes.Repeat([]byte(" "), 64<<10), 0)
	}
}

// pour sends a piece again and again, until the client goes away.
func (x *Exchange) pour(piece []byte, pause time.Duration) {
	for x.Request.Method != http.MethodHead { // which has no body
		if _, err := x.writer.Write(piece); err != nil {
			return
		}
		http.NewResponseController(x.writer).Flush()
		select {
		case <-x.Request.Context().Done():
			return
		case <-x.proxy.closed:
			return
		case <-time.After(pause):
		}
	}
}

func (x *Exchange) redirect(to string) {
	x.Send(Answer{Status: http.StatusTemporaryRedirect, Header: http.Header{"Location": {to}}})
}

// anotherType is the artifact type of the entry that another writer adds.
const anotherType = "application/vnd.example.another"

// addEntry adds an entry to the referrers index, as another client does that
// found it as it is. The entry is for a manifest that is there: the subject.
func (x *Exchange) addEntry() {
	index := ocispec.Index{}
	if found := x.fetch(x.Request.URL.Path); found.Status == http.StatusOK {
		x.must(json.Unmarshal(found.Body, &index))
	}
	folder, tag := path.Split(x.Request.URL.Path)
	subject := x.fetch(folder + strings.Replace(tag, "-", ":", 1))
	index.SchemaVersion, index.MediaType = 2, ocispec.MediaTypeImageIndex
	index.Manifests = append(index.Manifests, ocispec.Descriptor{
		MediaType:    subject.Header.Get("Content-Type"),
		Digest:       digest.FromBytes(subject.Body),
		Size:         int64(len(subject.Body)),
		ArtifactType: anotherType,
	})
	content, err := json.Marshal(index)
	x.must(err)
	x.writeIndex(content)
}

func (x *Exchange) fetch(uri string) Answer {
	accept := http.Header{"Accept": {ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest}}
	answer, err := x.proxy.ask(x.Request.Context(), http.MethodGet, uri, x.Request.Host, accept, nil)
	x.must(err)
	return answer
}

// restoreIndex writes the index as the first read through this proxy found it.
func (x *Exchange) restoreIndex() {
	x.proxy.mu.Lock()
	first := x.proxy.index
	x.proxy.mu.Unlock()
	if first != nil && first.Status == http.StatusOK {
		x.writeIndex(first.Body)
	}
}

func (x *Exchange) writeIndex(content []byte) {
	header := http.Header{"Content-Type": {ocispec.MediaTypeImageIndex}}
	answer, err := x.proxy.ask(x.Request.Context(), http.MethodPut, x.Request.URL.Path, x.Request.Host, header, content)
	if err == nil && answer.Status != http.StatusCreated {
		err = fmt.Errorf("%d: %s", answer.Status, answer.Body)
	}
	x.must(err)
}

// must tells the client that the other client could not do its part.
func (x *Exchange) must(err error) {
	if err != nil {
		x.Send(failure(http.StatusTeapot, err.Error()))
		panic(http.ErrAbortHandler)
	}
}
