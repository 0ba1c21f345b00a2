package netmon

import (
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/windows"
)

// A subscription is what Windows hands back with each notification.
type subscription struct{ events chan struct{} }

// onChange is what Windows calls, in a thread of its own. Callbacks are never
// freed, so there is one for all.
var onChange = sync.OnceValue(func() uintptr {
	return windows.NewCallback(func(s *subscription, _ unsafe.Pointer, _ uint32) uintptr {
		notify(s.events)
		return 0
	})
})

// openSource subscribes to changes of addresses and routes.
func openSource() (*source, error) {
	s := &subscription{events: make(chan struct{}, 1)}
	var pinned runtime.Pinner
	pinned.Pin(s)
	var handles []windows.Handle
	cancel := func() {
		for _, h := range handles {
			windows.CancelMibChangeNotify2(h) // waits for callbacks under way
		}
		pinned.Unpin()
	}
	for _, subscribe := range []func(uint16, uintptr, unsafe.Pointer, bool, *windows.Handle) error{
		windows.NotifyUnicastIpAddressChange,
		windows.NotifyRouteChange2,
		windows.NotifyIpInterfaceChange,
	} {
		var h windows.Handle
		if err := subscribe(windows.AF_UNSPEC, onChange(), unsafe.Pointer(s), false, &h); err != nil {
			cancel()
			return nil, err
		}
		handles = append(handles, h)
	}
	return &source{events: s.events, close: cancel}, nil
}
