//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd && !windows

package netmon

import "errors"

func openSource() (*source, error) { return nil, errors.ErrUnsupported }
