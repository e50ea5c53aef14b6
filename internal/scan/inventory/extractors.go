package inventory

import (
	"fmt"
	"math"

	cpb "github.com/google/osv-scalibr/binary/proto/config_go_proto"
	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/depsjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/packageslockjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/golang/gobinary"
	"github.com/google/osv-scalibr/extractor/filesystem/language/java/archive"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/packagejson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/packagelockjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/php/composerlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/wheelegg"
	"github.com/google/osv-scalibr/extractor/filesystem/language/ruby/gemspec"
	"github.com/google/osv-scalibr/extractor/filesystem/language/rust/cargoauditable"
	"github.com/google/osv-scalibr/extractor/filesystem/language/rust/cargolock"
	"github.com/google/osv-scalibr/extractor/filesystem/os/apk"
	"github.com/google/osv-scalibr/extractor/filesystem/os/dpkg"
	"github.com/google/osv-scalibr/extractor/filesystem/os/rpm"
	"google.golang.org/protobuf/proto"
)

// makers are the extractors in use: the package databases of distributions and
// what languages leave in an image. Lock files stand for what was installed
// where nothing better is there (npm, Composer, Cargo).
var makers = []func(*cpb.PluginConfig) (filesystem.Extractor, error){
	dpkg.New, apk.New, rpm.New,
	gobinary.New, archive.New, packagejson.New, packagelockjson.New, wheelegg.New, gemspec.New,
	cargoauditable.New, cargolock.New, depsjson.New, packageslockjson.New, composerlock.New,
}

// Java archives within archives are opened so deep, and to so many bytes
// together; what lies beyond is not found.
const (
	maxNestedArchives = 8
	maxOpenedArchive  = 1 << 30
)

func extractors() ([]filesystem.Extractor, error) {
	// They are asked about files beyond the limit too, so that leaving one out
	// is this package's decision, and said.
	settings := &cpb.PluginConfig{MaxFileSizeBytes: math.MaxInt64, PluginSpecific: []*cpb.PluginSpecificConfig{{
		Config: &cpb.PluginSpecificConfig_JavaArchive{JavaArchive: &cpb.JavaArchiveConfig{
			MaxOpenedBytes: maxOpenedArchive, MaxZipDepth: maxNestedArchives, HashJars: proto.Bool(false),
		}},
	}}}
	out := make([]filesystem.Extractor, 0, len(makers))
	for _, maker := range makers {
		e, err := maker(settings)
		if err != nil {
			return nil, fmt.Errorf("make an extractor of packages: %w", err)
		}
		out = append(out, e)
	}
	return out, nil
}
