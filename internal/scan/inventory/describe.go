package inventory

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/google/osv-scalibr/extractor"
	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/depsjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/packageslockjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/golang/gobinary"
	"github.com/google/osv-scalibr/extractor/filesystem/language/java/archive"
	archivemeta "github.com/google/osv-scalibr/extractor/filesystem/language/java/archive/metadata"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/packagejson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/packagelockjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/php/composerlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/wheelegg"
	"github.com/google/osv-scalibr/extractor/filesystem/language/ruby/gemspec"
	"github.com/google/osv-scalibr/extractor/filesystem/language/rust/cargoauditable"
	"github.com/google/osv-scalibr/extractor/filesystem/language/rust/cargolock"
	"github.com/google/osv-scalibr/extractor/filesystem/os/apk"
	apkmeta "github.com/google/osv-scalibr/extractor/filesystem/os/apk/metadata"
	"github.com/google/osv-scalibr/extractor/filesystem/os/dpkg"
	dpkgmeta "github.com/google/osv-scalibr/extractor/filesystem/os/dpkg/metadata"
	"github.com/google/osv-scalibr/extractor/filesystem/os/rpm"
	rpmmeta "github.com/google/osv-scalibr/extractor/filesystem/os/rpm/metadata"
)

const managerOS = "OS"

// managers are the package managers as Inspector names them
// (inspector2 API_VulnerablePackage, packageManager), by extractor.
func manager(e filesystem.Extractor) string {
	switch e.Name() {
	case dpkg.Name, apk.Name, rpm.Name:
		return managerOS
	case gobinary.Name:
		return "GOBINARY"
	case archive.Name:
		return "JAR"
	case packagejson.Name:
		return "NODEPKG"
	case packagelockjson.Name:
		return "NPM"
	case wheelegg.Name:
		return "PYTHONPKG"
	case gemspec.Name:
		return "GEMSPEC"
	case cargoauditable.Name, cargolock.Name:
		return "CARGO"
	case depsjson.Name:
		return "DOTNET_CORE"
	case packageslockjson.Name:
		return "NUGET"
	case composerlock.Name:
		return "COMPOSER"
	}
	return ""
}

// isDatabase reports whether an extractor reads the package database of a
// distribution.
func isDatabase(e filesystem.Extractor) bool { return manager(e) == managerOS }

// standsAlone reports whether an extractor needs nothing but one file, and such
// files may be large.
func standsAlone(e filesystem.Extractor) bool {
	switch e.Name() {
	case gobinary.Name, archive.Name, cargoauditable.Name:
		return true
	}
	return false
}

// describe makes a package of ours of one that an extractor found. It is not ok
// when nothing could be looked up for it.
func describe(e filesystem.Extractor, p *extractor.Package) (Package, bool) {
	ecosystem := p.Ecosystem()
	out := Package{
		Ecosystem: ecosystem.String(), Name: p.Name, Version: p.Version, Manager: manager(e), Path: p.Location.PathOrEmpty(),
	}
	if u := p.PURL(); u != nil {
		out.PURL = u.String()
	}
	switch m := p.Metadata.(type) {
	case *dpkgmeta.Metadata:
		out.Installed, out.Arch = p.Name, m.Architecture
		if m.SourceName != "" {
			out.Name = m.SourceName
		}
		// Advisories speak of the version of the source package, which a binary
		// package need not have ("linux-signed", rebuilds: 1.0-1+b1).
		if m.SourceVersion != "" {
			out.Version = m.SourceVersion
		}
	case *apkmeta.Metadata:
		out.Installed, out.Arch = p.Name, m.Architecture
		if m.OriginName != "" {
			out.Name = m.OriginName
		}
	case *rpmmeta.Metadata:
		out.Arch = m.Architecture
		if m.Epoch > 0 {
			out.Version = strconv.Itoa(m.Epoch) + ":" + p.Version
		}
	case *archivemeta.Metadata:
		if m.GroupID != "" && m.ArtifactID != "" {
			out.Name = m.GroupID + ":" + m.ArtifactID
		}
	}
	if out.Installed == out.Name {
		out.Installed = ""
	}
	out.Name = osvName(out.Ecosystem, out.Name)
	return out, out.Ecosystem != "" && out.Name != "" && out.Version != ""
}

// pythonSeparators are all one, by PEP 503, "Normalized Names".
var pythonSeparators = regexp.MustCompile(`[-_.]+`)

// osvName is the name by which OSV knows a package of an ecosystem.
func osvName(ecosystem, name string) string {
	switch {
	case ecosystem == "PyPI":
		return strings.ToLower(pythonSeparators.ReplaceAllLiteralString(name, "-"))
	case ecosystem == "Go" && name == "go":
		return "stdlib"
	}
	return name
}
