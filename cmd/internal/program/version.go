package program

import "runtime/debug"

// Version returns the version that the program was built from: the module's, if
// it was installed as one, else the revision of the source.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}
